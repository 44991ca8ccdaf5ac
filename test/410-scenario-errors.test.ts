// Bad input: each mistake gives its place, an excerpt with a caret, what was expected and the
// nearest valid name. The first tests show whole messages, the table the first line of many.

import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { parseScenario } from '../src/scenario/parse.js'
import { editDistance, nearestName } from '../src/scenario/suggest.js'
import { EVENT_VOCABULARY } from '../src/trace/vocabulary.js'

async function errorOf(text: string): Promise<UserError> {
  try {
    await parseScenario(text, 's.yaml', { events: EVENT_VOCABULARY }, () => { throw new Error('no trace here') })
  } catch (error) {
    if (error instanceof UserError) return error
    throw error
  }
  throw new Error(`accepted: ${text}`)
}

const message = async (text: string): Promise<string> => (await errorOf(text)).format()

/** A scenario with one process whose program is these lines; they start at line 4, column 7. */
function program(lines: string, head = ''): string {
  return `${head}processes:\n  - name: p\n    program:\n${lines.split('\n').map((line) => `      ${line}\n`).join('')}`
}

describe('messages', () => {
  test('an unknown operation is underlined and the nearest one suggested', async () => {
    expect(await message(program('- mmap: {name: buf, pages: 1}\n- tuch: buf'))).toBe([
      's.yaml:5:9: unknown operation "tuch"',
      '    5 |       - tuch: buf',
      '      |         ^~~~',
      'did you mean "touch"?',
      'expected one of: touch, read, write, exec, compute, spin, signal, store, load, mmap, munmap, mprotect, madvise, '
        + 'mremap, migrate, numaHint, reclaim, sync, truncate, gupFast, modifyLdt, vmalloc, vfree, kernelTouch, useMm, '
        + 'unuseMm, kill, exitGroup, setaffinity, nice, irqsOff, wait, sleep, wake, barrier, mark, yield, exit, '
        + 'replay, fork, clone, vfork, execve, repeat',
    ].join('\n'))
  })

  test('two fixed mappings that must collide are both shown', async () => {
    const text = program(['- mmap: {at: 0x10000, pages: 4, fixed: true}', '- compute: 5',
      '- mmap: {at: 0x13000, pages: 1, noReplace: true}'].join('\n'))
    expect(await message(text)).toBe([
      's.yaml:6:20: the mapping [0x0000000000013000, 0x0000000000014000) overlaps the one of line 4, '
        + '[0x0000000000010000, 0x0000000000014000)',
      '    6 |       - mmap: {at: 0x13000, pages: 1, noReplace: true}',
      '      |                    ^~~~~~~',
      'the earlier mapping:',
      '    4 |       - mmap: {at: 0x10000, pages: 4, fixed: true}',
      '      |                    ^~~~~~~',
      'unmap it in between, replace it with "fixed: true", or expect it with "expectError: EEXIST"',
    ].join('\n'))
  })

  test('several mistakes are listed with their places, the first in full', async () => {
    expect(await message(`sed: 1\n${program('- tuch: b', 'cpus: x\n')}`)).toBe([
      's.yaml:1:1: unknown key "sed"',
      '    1 | sed: 1',
      '      | ^~~',
      'did you mean "seed"?',
      'expected one of: name, question, lookFor, machine, cpus, kernel, bugs, seed, files, processes, kernelThreads, '
        + 'schedule, expect',
      'and 2 more problems:',
      '  s.yaml:2:7: expected an integer from 1 to 256 CPUs, found "x"',
      '  s.yaml:6:9: unknown operation "tuch"',
    ].join('\n'))
  })

  test('options at the depth of their operation are recognised', async () => {
    expect(await message(program('- mmap:\n  name: buf\n  pages: 3')))
      .toContain('if it is an option of "mmap", indent it below "mmap:"')
  })

  test.each([
    ['0xb1_7000', '0xb17000'], ['b17000', '0xb17000'],
  ])('an address written as %s is recognised', async (written, meant) => {
    const text = program(`- mmap: {at: ${written}, pages: 1, fixed: true}`)
    expect(await message(text)).toContain(`did you mean ${meant}?`)
  })

  test.each([
    ['256m', '256M'], ['256MiB', '256M'], ['256 M', '256M'], ['0256M', '256M'],
  ])('a size written as %s is recognised', async (written, meant) => {
    expect(await message(program('- yield', `machine: {memory: ${written}}\n`))).toContain(`did you mean ${meant}?`)
  })

  test('a value in the place of a map is answered with the keys of the map', async () => {
    expect(await message(program('- repeat: 3'))).toContain('expected a map, found 3\n')
    expect(await message(program('- repeat: 3'))).toContain('its keys: times, do')
  })

  test('a number that breaks two rules is reported once', async () => {
    expect(await message(program('- yield', 'machine: {costs: {access: 1e18}}\n'))).not.toContain('more problem')
  })

  test('a long line is cut around the caret', async () => {
    const text = program(`- {mark: '${'m'.repeat(300)}', tuch: b}`)
    const [, excerpt, caret] = (await message(text)).split('\n')
    expect(excerpt!.length).toBeLessThanOrEqual(110)
    expect(excerpt!.slice(caret!.indexOf('^'), caret!.indexOf('^') + 4)).toBe('tuch')
  })
})

/** What is wrong, the text, and the first line of the message after the file name. */
const CASES: [string, string, string | RegExp][] = [
  ['broken YAML', 'processes:\n  - name: p\n   program: [yield\n', '3:4: YAML: sequence item without - indicator'],
  ['a tab as indentation', 'processes:\n\t- name: p\n', '2:1: YAML: tabs are not allowed as indentation'],
  ['a key given twice', `seed: 1\n${program('- yield', 'seed: 2\n')}`, '2:1: YAML: map keys must be unique'],
  ['a list that is never closed', 'processes:\n  - name: p\n    program: [yield\n\n# the end\nseed: 1\n',
    '3:14: YAML: this list is never closed'],
  ['a quote that is never closed', `question: "What?\n${program('- yield')}`, '1:11: YAML: this quote is never closed'],
  ['a second document', `${program('- yield')}---\nseed: 1\n`, '5:1: YAML: a second document begins here, and a '
    + 'scenario is one'],
  ['lists without end', `processes: ${'['.repeat(100_000)}`, /^1:\d+: YAML: lists and maps are nested too deeply$/],
  ['many levels', `processes: ${'['.repeat(70)}${']'.repeat(70)}`,
    /^1:\d+: the scenario is nested more than 64 levels/],
  ['another version of YAML', `%YAML 1.1\n---\n${program('- yield')}`, '1:1: a scenario is YAML 1.2, not 1.1'],
  ['a number that may be octal', program('- yield', 'cpus: 010\n'), '1:7: "010" could be octal or decimal'],
  ['a size that may be octal', program('- yield', 'machine: {memory: 0256M}\n'),
    '1:19: expected a size in bytes: a number, hexadecimal, or with K, M or G (64K, 2M), found "0256M"'],
  ['an unknown anchor', program('- compute: *nope'), '4:18: unknown anchor "nope"'],
  ['only comments', '# nothing\n', '1:1: the scenario is empty'],
  ['nothing at all', '', '1:1: the scenario is empty'],
  ['a word', 'hello', '1:1: expected a map, found "hello"'],
  ['no processes', 'seed: 3\n', '1:1: the key "processes" is missing'],
  ['a prototype key', `__proto__: 1\n${program('- yield')}`, '1:1: unknown key "__proto__"'],

  ['two operations in one', program('- mmap: {pages: 1}\n  yield:'),
    '4:9: an operation is a map with exactly one key, found mmap, yield'],
  ['an operation without a value', program('- touch'), '4:9: the operation "touch" needs a value'],
  ['an unknown bare word', program('- yeild'), '4:9: unknown operation "yeild"'],
  ['an empty program', 'processes: [{name: p, program: []}]', '1:23: the list of operations is empty'],
  ['a program that is missing', 'processes: [{name: p}]', '1:13: process "p" has neither a program nor threads'],
  ['an empty loop', program('- repeat: {times: 1, do: []}'), '4:28: the list of operations is empty'],
  ['a loop of no rounds', program('- repeat: {times: 0, do: [yield]}'),
    '4:25: expected an integer from 1 to 2147483647 times, found 0'],
  ['loops nested too deep', program(`- ${'repeat: {times: 2, do: ['.repeat(9)}yield${']}'.repeat(9)}`),
    '4:201: loops are nested more than 8 deep'],

  ['an unknown protection', program('- mmap: {pages: 1, prot: rq}'), '4:32: unknown protection "rq"'],
  ['an unknown preset', program('- yield', 'machine: skl-2\n'), '1:10: unknown machine preset "skl-2"'],
  ['an unknown era', program('- yield', 'kernel: {era: linux-6}\n'), '1:15: unknown kernel era "linux-6"'],
  ['an unknown cost', program('- yield', 'machine: {costs: {invlgp: 3}}\n'), '1:19: unknown cost "invlgp"'],
  ['too many CPUs', program('- yield', 'cpus: 257\n'), '1:7: expected an integer from 1 to 256 CPUs, found 257'],
  ['two numbers of CPUs', program('- yield', 'cpus: 2\nmachine: {cpus: 3}\n'), '1:7: cpus is 2 here and 3 in machine'],
  ['a CPU that is not there', 'processes: [{name: p, cpu: 2, program: [yield]}]', '1:28: CPU 2 does not exist'],
  ['one of several CPUs that is not there', 'processes: [{name: p, cpus: [0, 9], program: [yield]}]',
    '1:33: CPU 9 does not exist'],
  ['memory that is not a multiple', program('- yield', 'machine: {memory: 254M}\n'),
    '1:19: memory must be a multiple of 4M'],
  ['too much memory', program('- yield', 'machine: {memory: 9G}\n'), '1:19: a machine has at most 8G of memory'],
  ['too much memory for 32 bits', program('- yield', 'machine: {memory: 1G, geometry: i386}\n'),
    '1:19: the direct map of i386 holds at most 896M'],
  ['too little memory', program('- yield', 'machine: {memory: 16M}\n'),
    '1:19: 16M of memory is too little for the kernel image, which ends at 40M, and page tables'],
  ['memory in words', program('- yield', 'machine: {memory: lots}\n'),
    '1:19: expected a size in bytes: a number, hexadecimal, or with K, M or G (64K, 2M), found "lots"'],
  ['memory without room for page tables', program('- yield', 'machine: {memory: 40M}\n'),
    '1:19: 40M of memory is too little for the kernel image, which ends at 40M, and page tables'],
  ['PCID with 16 KiB pages', program('- yield', 'machine: {geometry: granule-16k}\nkernel: {pcid: true}\n'),
    '2:16: granule-16k has no PCID'],
  ['five levels in 4.6', program('- yield', 'machine: {geometry: x86-64-la57}\nkernel: linux-4.6\n'),
    '2:9: linux-4.6 has no five-level page tables'],
  ['a fraction of a cycle', program('- yield', 'machine: {costs: {walkStep: 1.5}}\n'),
    '1:29: expected an integer from 0 to 1000000000 cycles, found 1.5'],
  ['a clock that stands', program('- yield', 'machine: {costs: {frequencyGhz: 0}}\n'),
    '1:33: expected a clock from 0.001 to 100 GHz, found 0'],
  ['more processes than address spaces', `processes:\n${Array.from({ length: 1025 }, (_, i) =>
    `  - {name: p${i}, program: [exit]}\n`).join('')}`,
  '1026:5: there are 1025 processes, but at most 1024 address spaces'],
  ['another form of mm_cpumask on 4.6', program('- yield', 'kernel: {era: linux-4.6, mmCpumask: lazy}\n'),
    '1:37: linux-4.6 clears a bit of mm_cpumask at every switch'],
  ['another form of mm_cpumask under a policy that needs one',
    program('- yield', 'kernel: {policy: latr, mmCpumask: eager}\n'),
    '1:35: latr needs mmCpumask trimmed: it leaves its notes to the CPUs of the mask'],
  ['PCID in 4.6', program('- yield', 'kernel: {era: linux-4.6, pcid: true}\n'), '1:32: linux-4.6 never uses PCID'],
  ['ways that do not divide', program('- yield', 'machine: {tlb: {l1d: 64/5}}\n'),
    '1:22: the ways do not divide the entries in "64/5"'],
  ['a duration without a unit', program('- compute: 10 parsecs'),
    "4:18: expected a duration: cycles, or text such as '10us', '3ms', '250ns', found \"10 parsecs\""],

  ['an unknown area', program('- mmap: {name: buf, pages: 2}\n- read: bfu'), '5:15: unknown area "bfu"'],
  ['an area before its mmap', program('- read: buf\n- mmap: {name: buf, pages: 2}'),
    '4:15: the area "buf" is not mapped here: its mmap comes later in the program'],
  ["another process's area",
    'processes:\n - {name: a, program: [mmap: {name: x, pages: 1}]}\n - {name: b, program: [read: x]}\n',
    '3:30: the area "x" is not mapped here: process "a" maps it, and address spaces are separate'],
  ["a child's area", program('- fork: {name: c, program: [mmap: {name: x, pages: 1}]}\n- read: x'),
    '5:15: unknown area "x"'],
  ['an area of the parent mapped after the fork',
    program('- fork: {name: c, program: [read: x]}\n- mmap: {name: x, pages: 1}'),
    '4:41: the area "x" is not mapped here: its mmap comes later in the program'],
  ['a range beyond its area', program('- mmap: {name: b, pages: 2}\n- read: {area: b, offset: 4K, pages: 2}'),
    '5:22: the area "b" has 8192 bytes; byte 12287 is beyond its end'],
  ['a range without a place', program('- read: {pages: 3}'), '4:9: which memory? Neither area nor at is given'],
  ['a range with two places', program('- read: {area: b, at: 0}'), '4:9: area and at exclude each other'],
  ['a range with two lengths', program('- read: {at: 0x1000, pages: 1, bytes: 8}'),
    '4:45: pages and bytes exclude each other'],
  ['an absolute munmap without a length', program('- munmap: {at: 0x1000}'), '4:22: an absolute range needs a length'],
  ['an unaligned load', program('- load: 0xb17004'), '4:15: the address 0x0000000000b17004 is not aligned'],
  ['an unaligned offset', program('- mmap: {name: b, pages: 2}\n- munmap: {area: b, offset: 100}'),
    '5:35: the offset 100 is not aligned'],
  ['an unaligned mapping', program('- mmap: {at: 0x1234, pages: 1}'),
    '4:20: the address 0x0000000000001234 is not aligned'],
  ['an unaligned large page', program('- mmap: {at: 0x1000, size: 2M, huge: true}'),
    '4:20: the address 0x0000000000001000 is not aligned'],
  ['a non-canonical address', program('- read: 0x800000000000'),
    '4:15: 0x0000800000000000 is not canonical: bits 47 to 63 must all be equal on x86-64'],
  ['a kernel address', program('- read: 0xffff888000000000'),
    "4:15: 0xffff888000000000 is an address outside the geometry's user half: it is the kernel's"],
  ['the last user page, which stays empty', program('- read: 0x7ffffffff000'),
    "4:15: 0x00007ffffffff000 is an address outside the geometry's user range, which ends at 0x00007ffffffff000"],
  ['an address of 33 bits on i386', program('- read: 0x100000000', 'machine: {geometry: i386}\n'),
    '5:15: 0x0000000100000000 is an address outside the geometry: i386 has 32 bits'],
  ['an address of 68 bits', program('- read: 0x1ffff888000000000'),
    '4:15: 0x1ffff888000000000 does not fit into 64 bits'],
  ['a value of 65 bits', program('- store: {at: 8, value: 0x11223344556677889}'),
    '4:31: 0x11223344556677889 does not fit into 64 bits'],
  ['a store of nothing', program('- store: {at: 8}'), '4:9: the key "value" is missing'],
  ['an mmap without a length', program('- mmap: {name: b}'), '4:9: mmap needs its length exactly once'],
  ['a fixed mapping nowhere', program('- mmap: {pages: 1, fixed: true}'), '4:33: a fixed mapping needs an address'],

  ['a flag that nobody signals', program('- signal: done\n- spin: doen'),
    '5:15: nobody signals the flag "doen", so this spin never ends'],
  ['a sleep that nobody ends', program('- sleep: forever'), '4:16: task "p" sleeps forever here, and no task wakes it'],
  ['waking an unknown task', program('- wake: q'), '4:15: unknown task "q"'],
  ['a barrier that nobody completes', program('- barrier: {name: all, tasks: 2}'),
    '4:9: the barrier "all" waits for 2 tasks, but only 1 can arrive'],
  ['a barrier of two minds', program('- barrier: {name: b, tasks: 1}\n- barrier: {name: b, tasks: 2}'),
    '5:9: the barrier "b" waits for 2 tasks here and for 1 in line 4'],
  ['a kernel thread that touches memory', `${program('- yield')}kernelThreads: [{name: k, program: [touch: x]}]`,
    '5:37: a kernel thread cannot touch: it has no address space of its own'],
  ['a task name that is too long', 'processes: [{name: sixteen-letters-, program: [yield]}]',
    '1:20: expected a task name: 1 to 15 printable characters without spaces, found "sixteen-letters-"'],
  ['a task name given twice', program('- fork: {name: p, program: [yield]}'),
    '4:22: the task name "p" is taken by line 2'],
  ['a khugepaged that would never rest',
    'kernel: {khugepaged: {scanSleep: 9us}}\nprocesses: [{name: p, program: [yield]}]',
    '1:34: scanSleep is at least 10us'],
  ['the name of an idle task', 'processes: [{name: swapper/0, program: [yield]}]',
    '1:20: the task name "swapper/0" belongs to an idle task'],
  ['a missing trace', program('- replay: nothere.xz'), '4:17: there is no trace file "nothere.xz"'],

  ['an unknown counter', `${program('- yield')}expect: [{counter: ipiSent, equals: 1}]`,
    '5:20: unknown counter "ipiSent"'],
  ['a counter without a number', `${program('- yield')}expect: [{counter: ipisSent}]`,
    '5:10: how much? No bound is given'],
  ['an unknown event', `${program('- yield')}expect: [{event: tlb_flsh}]`, '5:18: unknown event "tlb_flsh"'],
  ['an unknown field', `${program('- yield')}expect: [{event: tlb_flush, where: {page: 1}}]`,
    '5:37: tlb_flush has no field "page"'],
  ['a reason that no flush has',
    `${program('- yield')}expect: [{event: tlb_flush, where: {reason: ipi sent}, count: 0}]`,
    '5:45: "ipi sent" is no reason'],
  ['a task that no event names', `${program('- yield')}expect: [{event: tlb_flush, where: {task: q}, count: 0}]`,
    '5:43: unknown task "q"'],
  ['a CPU that no event happens on', `${program('- yield')}expect: [{event: tlb_flush, where: {cpu: 2}, count: 0}]`,
    '5:42: CPU 2 does not exist'],
  ['a number that is none', `${program('- yield')}expect: [{event: tlb_flush, where: {pages: all}, count: 0}]`,
    '5:44: "pages" is a number, not "all"'],
  ['an unknown task', `${program('- yield')}expect: [{task: q, outcome: exited}]`, '5:17: unknown task "q"'],
  ['a key that does not belong', `${program('- yield')}expect: [{task: p, equals: 1}]`,
    '5:20: "equals" does not go with "task"'],
  ['impossible bounds', `${program('- yield')}expect: [{counter: ipisSent, atLeast: 3, atMost: 2}]`,
    '5:50: nothing is at least 3 and at most 2'],
]

describe('bad input', () => {
  test.each(CASES)('%s', async (_, text, first) => {
    const error = await errorOf(text)
    const line = error.format().split('\n')[0]!
    if (typeof first === 'string') expect(line).toBe(`s.yaml:${first}`)
    else expect(line.replace('s.yaml:', '')).toMatch(first)
    expect(error.details[1]).toMatch(/^ +\| +\^~*$|^ +\| \^~*$/)
  })
})

describe('mappings at fixed addresses', () => {
  const accepted = async (text: string): Promise<boolean> => errorOf(text).then(() => false, () => true)
  const first = '- mmap: {name: a, at: 0x10000, pages: 4, noReplace: true}\n'
  const second = '- mmap: {at: 0x12000, pages: 1, noReplace: true}'

  test('may meet when the first is unmapped, replaced, apart, or the failure is expected', async () => {
    expect(await accepted(program(first + second))).toBe(false)
    expect(await accepted(program(`${first}- munmap: a\n${second}`))).toBe(true)
    expect(await accepted(program(`${first}- munmap: {area: a, offset: 8K, pages: 1}\n${second}`))).toBe(true)
    expect(await accepted(program(`${first}- munmap: {area: a, pages: 1}\n${second}`))).toBe(false)
    expect(await accepted(program(`${first}- munmap: {at: 0x10000, bytes: 16K}\n${second}`))).toBe(true)
    expect(await accepted(program(`${first}- mmap: {at: 0x12000, pages: 1, fixed: true}`))).toBe(true)
    expect(await accepted(program(first + second.replace('0x12000', '0x14000')))).toBe(true)
    expect(await accepted(program(first + second.replace('true}', 'true, expectError: EEXIST}')))).toBe(true)
  })

  test('of a parent are still there in its child, those of another process are not', async () => {
    const child = `- fork: {name: c, program: [${second.slice(2)}]}`
    expect(await accepted(program(first + child))).toBe(false)
    expect(await accepted(`${program(first.trim())}  - name: q\n    program: [${second.slice(2)}]\n`)).toBe(true)
  })

  test('that replace others, or are hints that cannot be followed, are legal, and noted', async () => {
    const notes = async (text: string): Promise<string[]> => (await parseScenario(text, 's.yaml', {}, () => {
      throw new Error('no trace here')
    })).notes.map(({ position: { line, column }, text: note }) => `${line}:${column} ${note}`)
    const thread = 'another thread maps some of the same addresses in line 4: what is there depends on who comes first'
    const hint = 'without "fixed" or "noReplace" an address is a hint, and the kernel chooses another'
    const range = '[0x0000000000012000, 0x0000000000013000)'
    expect(await notes(program(`${first}- mmap: {at: 0x12000, pages: 1, fixed: true}`)))
      .toEqual([`5:20 replaces ${range} of the mapping of line 4: "fixed" is MAP_FIXED, "noReplace" would refuse`])
    expect(await notes(program(`${first}- mmap: {at: 0x12000, pages: 1}`)))
      .toEqual([`5:20 ${range} belongs to the mapping of line 4: ${hint}`])
    expect(await notes(program(`${first}- mmap: {at: 0x14000, pages: 1}\n- mmap: {pages: 1}`))).toEqual([])
    const inThread = (at: string): string => `{mmap: {at: ${at}, pages: 4, fixed: true}}`
    const threads = (other: string): string => 'processes:\n  - name: p\n    threads:\n'
      + `      - {name: a, program: [${inThread('0x10000')}]}\n      - {name: b, program: [${inThread(other)}]}\n`
    expect(await notes(threads('0x12000'))).toEqual([`5:41 ${thread}`])
    expect(await notes(threads('0x14000'))).toEqual([])
  })

  test('of two threads collide whichever comes first', async () => {
    const threads = (a: string, b: string): string =>
      `processes:\n  - name: p\n    threads:\n      - {name: a, program: [${a}]}\n      - {name: b, program: [${b}]}\n`
    expect(await accepted(threads(first.slice(2).trim(), second.slice(2)))).toBe(false)
    expect(await accepted(threads(`${first.slice(2).trim()}, munmap: a`, second.slice(2)))).toBe(true)
  })
})

describe('the nearest name', () => {
  test('an insertion, a deletion, another letter and a swap each count as one', () => {
    expect(['tuch', 'toouch', 'tough', 'tuoch', 'TOUCH'].map((typo) => editDistance('touch', typo)))
      .toEqual([1, 1, 1, 1, 0])
    expect(editDistance('', 'abc')).toBe(3)
  })

  test('nothing is suggested when nothing is near', () => {
    expect(nearestName('xyzzy', ['touch', 'mmap'])).toBeUndefined()
    expect(nearestName('q', ['p'])).toBeUndefined()
    expect(nearestName('linux-6', ['linux-4.6', 'linux-6.x'])).toBe('linux-6.x')
  })
})
