// The one sentence that sums a comparison up: what there is more or less of, what moved, what has other numbers.

import { describe, expect, test } from 'vitest'
import { diffTraces } from '../src/trace/diff.js'
import { findMoves } from '../src/trace/diff-moves.js'
import { diffSummary } from '../src/trace/diff-summary.js'
import { diffText } from '../src/trace/diff-text.js'
import { EVENT } from '../src/trace/events.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import type { TraceData } from '../src/trace/recorder.js'
import type { TextTrace } from '../src/trace/text-parse.js'

type Record = [cycle: number, cpu: number, kind: number, ...words: number[]]

const HEADER = { scenario: 's', era: 'linux-6.x', cpus: 3, seed: 1, frequencyGhz: 2 } as const

/** Records of one task. */
function trace(...records: Record[]): TraceData {
  const r = new TraceRecorder()
  const comm = r.intern('main')
  for (const [cycle, cpu, kind, a, b, c, d, e, f] of records) {
    r.record(kind, cycle, cpu, 1, comm, 0, a, b, c, d, e, f)
  }
  return r.finish()
}

function textTrace(data: TraceData): TextTrace {
  return { data, header: HEADER, firstLine: 7 }
}

function summary(a: TraceData, b: TraceData): string {
  const difference = diffTraces(a, b)
  return diffSummary(a, b, difference, findMoves(a, b, difference.differences))
}

const send = (cycle: number, cpu: number, to: number): Record => [cycle, cpu, EVENT.ipiSendCpu, to, 0]
const flush = (cycle: number, cpu: number, pages: number, reason: number): Record =>
  [cycle, cpu, EVENT.tlbFlush, pages, reason]
const ack = (cycle: number, cpu: number): Record => [cycle, cpu, EVENT.flushAck, 0]
const skip = (cycle: number): Record => [cycle, 0, EVENT.flushSkip, 1, 0]

describe('diffSummary', () => {
  test('counts what is missing and what is new, without what follows from it', () => {
    const before = trace(send(10, 0, 1), send(20, 0, 2), ack(30, 1), ack(30, 2))
    expect(summary(before, trace(skip(10)))).toBe('2 IPIs fewer, 1 CPU left out more')
    // Only companions differ: then they are told.
    expect(summary(trace(ack(30, 1), ack(30, 2)), trace(ack(30, 1)))).toBe('1 flush_ack event fewer')
  })

  test('says what moved, earlier, later or to another CPU', () => {
    expect(summary(trace(flush(10, 0, 3, 3), skip(20)), trace(skip(20), flush(30, 0, 3, 3))))
      .toMatch(/^1 (flush \(local MM shootdown\) later|CPU left out earlier)$/)
    expect(summary(trace(flush(10, 1, 3, 1)), trace(flush(10, 2, 3, 1))))
      .toBe('1 flush (remote shootdown) on another CPU')
  })

  test('names the fields that have other values, kinds of one noun together', () => {
    const pages = (n: number): TraceData => trace(flush(10, 0, n, 4), flush(11, 0, n, 3))
    expect(summary(pages(33), pages(34))).toBe('2 flushes with other pages')
    expect(summary(trace(flush(10, 0, 3, 4)), trace(flush(10, 0, 4, 4))))
      .toBe('1 flush (remote IPI send) with other pages')
  })

  test('of times alone gives the largest shift; of equal traces nothing', () => {
    const a = trace(send(10, 0, 1), skip(20))
    expect(summary(a, trace(send(10, 0, 1), skip(25))))
      .toBe('the same events, 1 of them at other times (up to 5 cycles later)')
    expect(summary(a, a)).toBe('')
  })
})

test('diffText shows a value before and after, and where an event moved', () => {
  const a = trace(flush(10, 0, 33, 4), flush(20, 1, 3, 1))
  const b = trace(flush(10, 0, 34, 4), flush(25, 2, 3, 1))
  const text = diffText(textTrace(a), textTrace(b), diffTraces(a, b), 10,
    { a: 'golden', b: 'this run' })
  expect(text).toContain('(- golden, + this run)')
  expect(text).toMatch(/\+ .*pages=34 reason=TLB_REMOTE_SEND_IPI {3}<- pages 33 -> 34\n/)
  expect(text).toMatch(/- .*TLB_REMOTE_SHOOTDOWN {3}<- moved on another CPU, to cycle 25, cpu2\n/)
})
