// Captures as kernels, options and accidents make them: every shape of the prefix is read, what is
// missing is said, and what is no ftrace text is refused at its place.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { parseFtrace, readFtrace } from '../src/trace/ftrace-parse.js'

const FLUSH = 'tlb_flush: pages:3 reason:remote shootdown (1)'
const first = (line: string) => parseFtrace(`${line}\n`)[0]

describe('the prefix of a line', () => {
  test('has the width of 6.x, that of 4.6 with four flags, or no flags at all', () => {
    const six = first(`          <idle>-0       [001] d.h1.  4137.687956: ${FLUSH}`)
    expect(six).toMatchObject({ comm: '<idle>', pid: 0, cpu: 1, flags: 'd.h1.', timeUs: 4137687956 })
    const four = first(`          <idle>-0     [001] d.h1  4137.687956: ${FLUSH}`)
    expect(four).toMatchObject({ comm: '<idle>', pid: 0, cpu: 1, flags: 'd.h1' })
    const none = first(`          <idle>-0     [001]  4137.687956: ${FLUSH}`)
    expect(none).toMatchObject({ comm: '<idle>', pid: 0, cpu: 1, flags: '', fields: { pages: '3' } })
  })

  test('may hold the thread group, known or not', () => {
    expect(first(`   tlb_remote-26324   (  26323) [001] d.h..  4137.696160: ${FLUSH}`))
      .toMatchObject({ pid: 26324, tgid: 26323 })
    expect(first(`   tlb_remote-26324   (-------) [001] d.h..  4137.696160: ${FLUSH}`))
      .toMatchObject({ pid: 26324, tgid: undefined })
    expect(first(`   tlb_remote-26324   (-----) [001] d.h..  4137.696160: ${FLUSH}`)?.tgid).toBeUndefined()
  })

  test('counts seconds to the micro- or the nanosecond, or the ticks of a clock that counts', () => {
    expect(first(`a-1 [000] d..1. 4137.687956123: ${FLUSH}`)).toMatchObject({ timeUs: 4137687956.123 })
    const counted = readFtrace(`a-1 [000] d..1.   128374659124: ${FLUSH}\n`)
    expect(counted.clock).toBe('counts')
    expect(counted.records[0]?.timeUs).toBe(128374659124)
  })

  test('has a comm that may hold spaces, dashes, brackets and what looks like a prefix', () => {
    const comms = ['two words', 'kworker/u8:2-ev', 'a-1 [000] d..1.', '[sh] -c', '(sd-pam)', 'x: y: z', '日本']
    for (const comm of comms) {
      expect(first(`${comm.padStart(16)}-77      [003] d..2.     1.000000: ${FLUSH}`))
        .toMatchObject({ comm, pid: 77, cpu: 3, event: 'tlb_flush' })
    }
  })

  test('is the same with the name of the system in front of the event, and with padding behind it', () => {
    expect(first(`a-1 [000] 1.000000: tlb:tlb_flush:            pages:3 reason:remote shootdown (1)`))
      .toMatchObject({ event: 'tlb_flush', fields: { pages: '3', reason_id: '1' } })
  })

  test('has flags of every kind that kernels print', () => {
    const irqs = [...'dDbX.']
    const resched = [...'NLBnplb.']
    const context = [...'ZzHhs.']
    const depth = [...'0123456789abcdef.']
    fc.assert(fc.property(
      fc.constantFrom(...irqs), fc.constantFrom(...resched), fc.constantFrom(...context), fc.constantFrom(...depth),
      fc.constantFrom(...depth, ''), (a, b, c, d, e) => {
        expect(first(`  x-1   [000] ${a}${b}${c}${d}${e}   1.000000: ${FLUSH}`)?.flags).toBe(a + b + c + d + e)
      }))
  })
})

describe('a payload', () => {
  const payload = (text: string) => first(`a-1 [000] d..1. 1.000000: ${text}`)?.fields

  test('may have the spelling of another kernel', () => {
    expect(payload('sched_wakeup: comm=a b pid=9 prio=120 success=1 target_cpu=001'))
      .toMatchObject({ comm: 'a b', pid: '9', target_cpu: '001' })
    expect(payload('sched_process_exit: comm=a pid=9 prio=120')).toEqual({ comm: 'a', pid: '9', prio: '120' })
    expect(payload('tlb_flush: pages:-1 reason:0x7 (7)')).toEqual({ pages: '-1', reason: '0x7', reason_id: '7' })
    expect(payload('page_fault_kernel: address=0x10 ip=__put_user_8 error_code=0x3')).toMatchObject({ address: '0x10' })
  })

  test('of an unknown event is kept; system calls are events of their own', () => {
    expect(payload('workqueue_queue_work: work struct=0x1 cpu=2')).toEqual({ struct: '0x1', cpu: '2' })
    const call = first('a-1 [000] ..... 1.000000: sys_munmap(addr: 7f00, len: 3000)')
    expect(call).toMatchObject({ event: 'sys_enter_munmap', fields: { args: 'addr: 7f00, len: 3000' } })
    expect(first('a-1 [000] ..... 1.000000: sys_munmap -> 0x0'))
      .toMatchObject({ event: 'sys_exit_munmap', fields: { result: '0x0' } })
  })
})

describe('a capture', () => {
  const line = (cpu: number, time: string) => `  a-1  [00${cpu}] d..1. ${time}: ${FLUSH}\n`

  test('may have lost events, which are told with the CPU and the line', () => {
    const { lost, notes, records } = readFtrace(
      `${line(0, '1.000001')}CPU:1 [LOST 12 EVENTS]\nCPU:0 [LOST EVENTS]\n${line(0, '1.000002')}`)
    expect(records).toHaveLength(2)
    expect(lost).toEqual([{ cpu: 1, events: 12, line: 2 }, { cpu: 0, events: undefined, line: 3 }])
    expect(notes[0]).toEqual({
      line: 2, text: 'the kernel lost 12 events of CPU 1 here; record again with a larger buffer',
    })
  })

  test('may begin later on one CPU than on the others', () => {
    const { notes } = readFtrace(`${line(0, '1.000001')}##### CPU 1 buffer started ####\n${line(1, '1.000002')}`)
    expect(notes).toEqual([{ line: 2, text: 'what CPU 1 did before this line was not recorded' }])
  })

  test('that is cut off in a line keeps what is whole; one that lacks whole lines is found out by its header', () => {
    const text = `# entries-in-buffer/entries-written: 3/3   #P:4\n${line(0, '1.000001')}${line(0, '1.000002')}`
    expect(readFtrace(text).notes.map(note => note.text)).toEqual([
      'the header announces 3 events, but there are 2: lines are missing, maybe at the end',
    ])
    const cut = readFtrace(text.slice(0, -20))
    expect(cut.records).toHaveLength(1)
    expect(cut.notes[0]).toEqual({
      line: 3, text: 'the file is cut off in the middle of this line, which is left out',
    })
    expect(cut.cpus).toBe(4)
  })

  test('says when older events were overwritten', () => {
    const { notes } = readFtrace(`# entries-in-buffer/entries-written: 1/41   #P:1\n${line(0, '1.000001')}`)
    expect(notes[0]?.text).toBe('the buffer was too small: 40 older events were overwritten')
  })

  test('of several per-CPU files one after the other is put into the order of time', () => {
    const { records } = readFtrace([line(0, '1.000001'), line(0, '1.000009'), line(1, '1.000003')].join(''))
    expect(records.map(({ cpu, line: at }) => [cpu, at])).toEqual([[0, 1], [1, 3], [0, 2]])
  })

  test('may have CRLF line ends, empty lines, stack traces, function calls and markers of several lines', () => {
    const text = `${line(0, '1.000001')}  a-1 [000] ..... 1.000002: tracing_mark_write: one\ntwo\n\n`
      + '  a-1 [000] ..... 1.000003: <stack trace>\n => munmap\n => do_syscall_64\n'
      + `  a-1 [000] ..... 1.000004: flush_tlb_mm_range <-tlb_flush_mmu\n${line(0, '1.000005')}`
    const events = ['tlb_flush', 'tracing_mark_write', 'stack_trace', 'function', 'tlb_flush']
    expect(parseFtrace(text).map(record => record.event)).toEqual(events)
    expect(parseFtrace(text.replaceAll('\n', '\r\n')).map(record => record.event)).toEqual(events)
    expect(parseFtrace(text.replaceAll('\n', '\r\n'))[0]?.payload).toBe(FLUSH.slice('tlb_flush: '.length))
  })

  test('that no ftrace text is, is refused at its place, with what was expected', () => {
    const cases: [string, string][] = [
      ['', 'x:1:1: there is no event in this file'],
      ['# tracer: nop\n#\n', 'x:1:1: there is no event in this file'],
      ['{"traceEvents": []}\n', 'x:1:1: not a line of an ftrace text trace'],
      [`a-1 [000] d..2. 12:34: ${FLUSH}\n`, 'x:1:17: not a line of an ftrace text trace'],
      [`a-1 [000] d..2. 1.000001; ${FLUSH}\n`, 'x:1:17: not a line of an ftrace text trace'],
      ['a-1 [000] d..2. 1.000001: what is this\n', 'x:1:27: not a line of an ftrace text trace'],
      ['# nop latency trace v1.1.5 on 6.18\n', 'x:1:1: this is the latency format'],
      ['  <idle>-0         1d.h1.    3us : call_function_entry: vector=252\n', 'x:1:1: this is the latency format'],
      ['# tracer: function_graph\n 0)   0.5 us   |  f();\n', 'x:1:11: the tracer function_graph prints call graphs'],
      ['tlb_main 26323 [000]  4137.696145: tlb:tlb_flush: pages:3\n', 'this looks like the output of perf script'],
      [`a-1 [000] d..2. 1.000001: tlb_flush: pages:x\n${line(0, '1.0')}`, 'x:1:38: the payload of tlb_flush does not'],
    ]
    for (const [text, message] of cases) {
      let told = 'accepted'
      try {
        readFtrace(text, 'x')
      } catch (error) {
        told = error instanceof UserError ? error.format() : String(error)
      }
      expect(told).toContain(message)
    }
  })

  test('cut anywhere is read, or refused with a place; it never crashes', () => {
    const text = [
      '# tracer: nop\n', line(0, '1.000001'), '  a b-7 (  3) [001] dNh1.  1.000002: sched_switch: prev_comm=a b ',
      'prev_pid=7 prev_prio=120 prev_state=R+ ==> next_comm=swapper/1 next_pid=0 next_prio=120\n', line(1, '1.000003'),
    ].join('')
    fc.assert(fc.property(fc.nat(text.length), fc.nat(text.length), (from, to) => {
      try {
        readFtrace(text.slice(Math.min(from, to), Math.max(from, to)))
      } catch (error) {
        expect(error).toBeInstanceOf(UserError)
        expect((error as UserError).position).toMatchObject({ file: 'trace' })
      }
    }))
  })
})
