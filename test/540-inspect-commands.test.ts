// `shootdown explain` and `shootdown dump` as a person types them: what they print, and what they
// say about mistakes.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommanderError, type Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { dumpCommand } from '../src/cli/dump.js'
import { explainCommand } from '../src/cli/explain.js'
import { simulate } from '../src/engine/simulate.js'
import { loadScenario } from '../src/scenario/parse.js'
import { saveTextTrace } from '../src/trace/text.js'

const TOUR = new URL('../scenarios/tour/', import.meta.url).pathname

const SCENARIO = `
name: looked-at
machine: {memory: 64M}
cpus: 2
processes:
  - name: writer
    cpu: 0
    program:
      - mmap: {name: buf, pages: 2, at: 0xb17000}
      - write: buf
      - compute: 1ms
  - name: reader
    cpu: 1
    program:
      - mmap: {name: own, pages: 1, at: 0xb17000}
      - read: own
      - compute: 1ms
`

let folder = ''
let scenario = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'inspect-commands-'))
  scenario = join(folder, 'looked-at.yaml')
  writeFileSync(scenario, SCENARIO)
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs a sub-command and gives what it wrote to standard output. */
async function run(command: Command, ...args: string[]): Promise<string> {
  const written: string[] = []
  const capture = (text: string | Uint8Array): boolean => {
    written.push(String(text))
    return true
  }
  const out = vi.spyOn(process.stdout, 'write').mockImplementation(capture)
  const err = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  try {
    await command.exitOverride().configureOutput({ writeErr: () => undefined })
      .parseAsync(args, { from: 'user' })
  } finally {
    out.mockRestore()
    err.mockRestore()
  }
  return written.join('')
}

const explain = (...args: string[]): Promise<string> => run(explainCommand(), ...args)
const dump = (...args: string[]): Promise<string> => run(dumpCommand(), ...args)

/** The message and the details of the UserError that ends a command. */
async function mistake(work: Promise<string>): Promise<string> {
  const error = await work.then(() => undefined, (reason: unknown) => reason)
  expect(error).toBeInstanceOf(UserError)
  return (error as UserError).format()
}

describe('explain', () => {
  test('draws an address of x86-64 unless told otherwise', async () => {
    expect(await explain('0xb17010')).toMatch(/^0x0000000000b17010 {2}x86-64: 4 levels/)
    expect(await explain('11628560')).toBe(await explain('0xb17010'))
    expect(await explain('0xb17010', '--geometry', 'x86-64-la57')).toMatch(/x86-64-la57: 5 levels/)
    expect(await explain('0xC0101234', '--geometry', 'i386')).toMatch(/slot {2}768 of 1024/)
  })

  test('walks the tables of the task that is named, at the cycle that is named', async () => {
    const text = await explain('0xb17010', '--scenario', scenario, '--task', 'writer', '--at', '100000')
    expect(text).toMatch(/looked-at: stopped before cycle 100000/)
    expect(text).toMatch(/mm 2 "writer" .*4 levels/)
    expect(text).toMatch(/pte\[279\] .* pfn 0x[0-9a-f]+ {2}P W U A D NX/)
    expect(text).toMatch(/cpu0 {2}l1d .* ok/)
    expect(text).not.toMatch(/cpu1 {2}l1d/)
  })

  test('says what is wrong with an address', async () => {
    expect(await mistake(explain('0x12345678901234567'))).toContain('is not an address')
    expect(await mistake(explain('ffff888000000000'))).toContain('did you mean "0xffff888000000000"?')
    expect(await mistake(explain('0xffff_8880_0000_0000'))).toContain('did you mean "0xffff888000000000"?')
    expect(await mistake(explain('buf'))).toContain('expected 0x and up to 16 hexadecimal digits')
    expect(await mistake(explain('0x100000000', '--geometry', 'i386-pae'))).toContain('addresses have 32 bits')
  })

  test('suggests the nearest name for geometries and tasks', async () => {
    expect(await mistake(explain('0', '--geometry', 'x86-64-la75'))).toContain('did you mean "x86-64-la57"?')
    expect(await mistake(explain('0', '--scenario', scenario, '--task', 'writter', '--at', '9999')))
      .toMatch(/there is no task "writter"\ndid you mean "writer"\?/)
  })

  test('wants to know whose tables when there are several, and says when nobody is left', async () => {
    expect(await mistake(explain('0', '--scenario', scenario, '--at', '9999')))
      .toMatch(/more than one address space\n.*writer, reader/)
    expect(await mistake(explain('0', '--scenario', scenario, '--at', 'end'))).toContain('no user task is left')
    expect(await mistake(explain('0', '--scenario', scenario, '--at', 'end', '--task', 'reader')))
      .toContain('task "reader" has exited')
  })

  test('needs a scenario for a task or a cycle, and the geometry that the scenario has', async () => {
    expect(await mistake(explain('0', '--task', 'writer'))).toContain('--task needs a scenario')
    expect(await mistake(explain('0', '--at', '5'))).toContain('--at needs a scenario')
    expect(await mistake(explain('0', '--scenario', scenario, '--geometry', 'i386'))).toContain('has x86-64')
    expect(await mistake(explain('0', '--scenario', join(folder, 'looked-et.yaml'))))
      .toContain('did you mean "looked-at.yaml"?')
  })
})

describe('explain an event', () => {
  test('of a scenario tells why, who waited, what it cost, and how to look into the machine', async () => {
    const text = await explain(`${TOUR}02-shootdown.yaml:263,787`)
    for (const part of [
      /^shootdown, cycle 263,787 on cpu1: event 70 of 136\n/, /^ {2}-> +\+ 750 +263787 \[001\] one-2 tlb_flush/m,
      /cpu0 -> cpu1 +IPI: flushes 3 pages/, /cpu0 main-1 +waited for acknowledgements for 2,946 cycles/,
      /munmap of main-1: 9,286 cycles = 4.04 us .* 4,946 \(53.3 %\) of them for 1 flush request/,
      /shootdown dump .*02-shootdown.yaml --at 263787$/m,
    ]) expect(text).toMatch(part)
  })

  test('of a trace file is the same story', async () => {
    const { config, image } = await loadScenario(`${TOUR}02-shootdown.yaml`, {}, () => { throw new Error('none') })
    const { result } = await simulate(config, image, { engine: 'inline' })
    const trace = join(folder, 'two.trace')
    saveTextTrace(trace, result.trace, { scenario: 'shootdown', era: 'linux-6.x', cpus: 4, seed: 1, frequencyGhz: 2.3 })
    const ofRun = await explain(`${TOUR}02-shootdown.yaml:260122`)
    expect(ofRun.startsWith(await explain(`${trace}:260122`))).toBe(true)
  })

  test('at a cycle without an event says so', async () => {
    expect(await explain(`${TOUR}02-shootdown.yaml:260500`))
      .toMatch(/cycle 260,122 on cpu0.*\n\(nothing happened at cycle 260,500; this is the last event before it\)/)
  })

  test('says what is wrong with a place', async () => {
    const file = `${TOUR}02-shootdown.yaml`
    expect(await mistake(explain(`${file}:5`, '--cpu', '9'))).toMatch(/there is no cpu9\n.*4 CPUs: 0 to 3/)
    expect(await mistake(explain(`${file}:5`, '--event', 'tlb_flash'))).toContain('did you mean "tlb_flush"?')
    expect(await mistake(explain(`${file}:5`, '--event', 'flush_ack')))
      .toMatch(/no flush_ack at or before cycle 5\n.*136 events, from cycle 0 to/)
    expect(await mistake(explain(`${file}:5`, '--task', 'main'))).toMatch(/--task is for addresses/)
    expect(await mistake(explain('0xb17010', '--cpu', '1'))).toMatch(/--cpu is for events/)
    expect(await mistake(explain(`${folder}/nothing.trace:5`))).toContain('there is no such file')
  })
})

describe('dump', () => {
  test('shows everything unless told what', async () => {
    const text = await dump(scenario, '--at', '100000')
    expect(text).toMatch(/^looked-at: stopped before cycle 100000/)
    for (const part of ['slots mm:gen', 'active_mm', 'pte[279]', 'cr3 pfn', 'l1d']) expect(text).toContain(part)
  })

  test('shows only the parts that are asked for', async () => {
    const tables = await dump(scenario, '--at', '100000', '--tables')
    expect(tables).toContain('pte[279]')
    expect(tables).not.toMatch(/l1d|active_mm/)
    const both = await dump(scenario, '--at', '100000', '--tlbs', '--tasks')
    expect(both).toMatch(/active_mm[^]*l1d/)
    expect(both).not.toContain('pte[279]')
  })

  test('at the end shows what is left', async () => {
    expect(await dump(scenario, '--at', 'end', '--tasks'))
      .toMatch(/^looked-at: the run was over at cycle \d+\n[^]*writer +Z .*exited/)
  })

  test('without a cycle shows the last moment at which the most tasks are alive', async () => {
    const text = await dump(scenario, '--tasks')
    expect(text).toMatch(/^looked-at: stopped before cycle \d+/)
    expect(text).toMatch(/writer +R/)
    expect(text).toMatch(/reader +[RS]/)
  })

  test('writes physical memory and the places of the root tables', async () => {
    const file = join(folder, 'memory.img')
    expect(await dump(scenario, '--at', '100000', '--image', file)).toBe('')
    expect(readFileSync(file).length).toBe(64 * 2 ** 20)
    expect(JSON.parse(readFileSync(`${file}.json`, 'utf8'))).toEqual({ la57: false, tasks: [
      { pid: 1, comm: 'writer', cr3: expect.stringMatching(/^0x[0-9a-f]+000$/) as string },
      { pid: 2, comm: 'reader', cr3: expect.stringMatching(/^0x[0-9a-f]+000$/) as string },
    ] })
  })

  test('leaves nothing behind when the image cannot be written', async () => {
    expect(await mistake(dump(scenario, '--image', join(folder, 'nowhere', 'x'))))
      .toContain('the folder does not exist')
    expect(existsSync(join(folder, 'nowhere'))).toBe(false)
  })

  test('refuses a cycle that is none', async () => {
    for (const cycle of ['0', '-1', '1.5', 'soon']) {
      await expect(dump(scenario, '--at', cycle)).rejects.toBeInstanceOf(CommanderError)
    }
  })
})
