// Comparing traces: an event less is one removed event, a dearer step only shifts what follows.

import { describe, expect, test } from 'vitest'
import { causesOf } from '../src/trace/cause.js'
import { diffTraces } from '../src/trace/diff.js'
import { EVENT, EVENTS } from '../src/trace/events.js'
import { describeMoment, momentAt } from '../src/trace/moment.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import type { TraceData } from '../src/trace/recorder.js'

interface Options {
  skipSend?: boolean
  delay?: number
  pages?: number
}

/** A munmap on CPU 0 that flushes CPU 1. */
function shootdown({ skipSend = false, delay = 0, pages = 8 }: Options = {}): TraceData {
  const r = new TraceRecorder()
  const [writer, other] = [r.intern('writer'), r.intern('other')]
  const munmap = r.intern('munmap')
  r.record(EVENT.sysEnter, 100, 0, 1, writer, 0, munmap, 0, 0x1000, 4096 * pages)
  r.record(EVENT.flushBegin, 200, 0, 1, writer, 0, 2, 0, 0x1000, pages, 1)
  r.record(EVENT.tlbFlush, 210 + delay, 0, 1, writer, 0, pages, 4)
  r.record(EVENT.csdQueueCpu, 220 + delay, 0, 1, writer, 0, 1)
  if (!skipSend) r.record(EVENT.ipiSendCpu, 230 + delay, 0, 1, writer, 0, 1, r.intern('f'))
  if (!skipSend) {
    r.record(EVENT.callFunctionSingleEntry, 400 + delay, 1, 2, other, 0)
    r.record(EVENT.tlbFlush, 450 + delay, 1, 2, other, 0, pages, 1)
    r.record(EVENT.flushAck, 450 + delay, 1, 2, other, 0, 0)
    r.record(EVENT.callFunctionSingleExit, 480 + delay, 1, 2, other, 0)
  }
  r.record(EVENT.flushDone, 600 + delay, 0, 1, writer, 0, 2, 1, 400 + delay)
  r.record(EVENT.sysExit, 700 + delay, 0, 1, writer, 0, munmap, 0)
  return r.finish()
}

describe('diffTraces', () => {
  test('a trace is the same as itself', () => {
    expect(diffTraces(shootdown(), shootdown())).toMatchObject({ isEqual: true, differences: [], kinds: [] })
  })

  test('an interrupt that was not sent: what is missing, by kind, and nothing else', () => {
    const difference = diffTraces(shootdown(), shootdown({ skipSend: true }))
    expect(difference).toMatchObject({ isEqual: false, firstRecord: 4 })
    expect(difference.differences.map(one => [one.kind, one.a])).toEqual(
      [['removed', 4], ['removed', 5], ['removed', 6], ['removed', 7], ['removed', 8]])
    expect(difference.kinds.map(kind => [kind.label, kind.countB - kind.countA])).toEqual([
      ['call_function_single_entry', -1], ['call_function_single_exit', -1], ['flush_ack', -1], ['ipi_send_cpu', -1],
      ['tlb_flush (remote shootdown)', -1],
    ])
    expect(difference.cpus).toEqual([{ label: 'cpu1', countA: 1, countB: 0, cyclesA: 80, cyclesB: 0 }])
  })

  test('a dearer step shifts what follows and changes no event', () => {
    const difference = diffTraces(shootdown(), shootdown({ delay: 50 }))
    expect(difference).toMatchObject({ isEqual: false, firstRecord: 2, differences: [], cpus: [] })
    expect(difference.kinds.every(kind => kind.largestShift === 50 && kind.changed === 0)).toBe(true)
    expect(difference.operations).toEqual([
      { label: 'munmap', countA: 1, countB: 1, cyclesA: 600, cyclesB: 650 },
      { label: 'shootdown', countA: 1, countB: 1, cyclesA: 400, cyclesB: 450 },
    ])
  })

  test('another number in a field is a changed event', () => {
    const { differences, kinds } = diffTraces(shootdown(), shootdown({ pages: 7 }))
    expect(differences.every(one => one.kind === 'changed')).toBe(true)
    expect(kinds.map(kind => kind.label)).toEqual(
      ['flush_begin', 'sys_enter (munmap)', 'tlb_flush (remote IPI send)', 'tlb_flush (remote shootdown)'])
  })
})

test('causesOf follows a responder back to the system call of the initiator', () => {
  const trace = shootdown()
  const names = (index: number): string[] => causesOf(trace, index).map(at => EVENTS[trace.kind[at]!]!.name)
  expect(names(6)).toEqual(['sys_enter', 'flush_begin', 'ipi_send_cpu', 'call_function_single_entry'])
  expect(names(7)).toEqual(['sys_enter', 'flush_begin'])
  expect(names(9)).toEqual(['sys_enter', 'flush_begin'])
  expect(names(0)).toEqual([])
})

test('momentAt says what every CPU is doing', () => {
  expect(momentAt(shootdown(), 6, 3).map(describeMoment)).toEqual([
    'cpu0 writer-1 in munmap since cycle 100, flushing mm 2 since cycle 200, asked 1 CPU',
    'cpu1 other-2 handles call_function_single since cycle 400',
    'cpu2 <idle>-0 nothing yet',
  ])
})
