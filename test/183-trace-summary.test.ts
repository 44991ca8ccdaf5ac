// One record per flush request: who asked, who answered, who was spared, what it cost.

import { expect, test } from 'vitest'
import { CALLBACK_CALL_FUNCTION, CALLBACK_RESCHEDULE, EVENT } from '../src/trace/events.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { summarizeShootdowns } from '../src/trace/summary.js'

/** Records `[cycle, cpu, kind, ...words]`; strings are interned. */
function summarize(...records: [number, number, number, ...(number | string)[]][]) {
  const recorder = new TraceRecorder()
  for (const [cycle, cpu, kind, ...fields] of records) {
    const words = fields.map((field) => (typeof field === 'string' ? recorder.intern(field) : field))
    recorder.record(kind, cycle, cpu, 100 + cpu, recorder.intern(`task${cpu}`), 0, ...words as [])
  }
  return summarizeShootdowns(recorder.finish())
}

const E = EVENT

test('a shootdown of eight pages costs its initiator the wait for the slowest responder', () => {
  const [shootdown, ...others] = summarize(
    [1000, 0, E.flushBegin, 3, 0x7f00, 0x1000, 8, 5],
    [1010, 0, E.flushSkip, 2, 'lazy'],
    [1020, 0, E.tlbFlush, 8, 4],
    [1030, 0, E.csdQueueCpu, 1],
    [1030, 0, E.csdQueueCpu, 3],
    [1040, 0, E.ipiSendCpumask, 'a', CALLBACK_CALL_FUNCTION],
    [1050, 0, E.tlbFlush, 8, 3],
    [2000, 1, E.callFunctionEntry],
    [2100, 1, E.tlbFlush, 8, 1],
    [2110, 1, E.flushAck, 0],
    [2150, 1, E.callFunctionExit],
    [3000, 3, E.callFunctionEntry],
    [3050, 3, E.tlbFlush, 0, 5],
    [3060, 3, E.flushAck, 0],
    [3070, 3, E.callFunctionExit],
    [3300, 0, E.flushDone, 3, 2, 2300],
  )
  expect(others).toEqual([])
  expect(shootdown).toEqual({
    initiatorCpu: 0, pid: 100, comm: 'task0', mm: 3, start: { hi: 0x7f00, lo: 0x1000 }, pages: 8, newTlbGen: 5,
    local: { reason: 3, pages: 8 },
    responders: [
      { cpu: 1, startCycle: 2000, ackCycle: 2110, reason: 1, pages: 8, cycles: 150, interrupted: true },
      { cpu: 3, startCycle: 3000, ackCycle: 3060, reason: 5, pages: 0, cycles: 70, interrupted: true },
    ],
    ipiCpus: [1, 3],
    skipped: [{ cpu: 2, why: 'lazy' }],
    startCycle: 1000, endCycle: 3300, cycles: 2300,
  })
})

test('two CPUs that flush each other answer while they wait, and each keeps its own account', () => {
  const [first, second] = summarize(
    [100, 0, E.flushBegin, 3, 0, 0, 1, 5],
    [101, 1, E.flushBegin, 3, 0, 0, 2, 6],
    [102, 0, E.csdQueueCpu, 1],
    [102, 0, E.ipiSendCpu, 1, CALLBACK_CALL_FUNCTION],
    [103, 1, E.csdQueueCpu, 0],
    [103, 1, E.ipiSendCpu, 0, CALLBACK_CALL_FUNCTION],
    [104, 0, E.tlbFlush, 1, 3],
    [105, 1, E.tlbFlush, 2, 3],
    [200, 0, E.callFunctionSingleEntry],
    [201, 0, E.tlbFlush, 2, 1],
    [202, 0, E.flushAck, 1],
    [203, 0, E.callFunctionSingleExit],
    [300, 1, E.callFunctionSingleEntry],
    [301, 1, E.tlbFlush, -1, 1],
    [302, 1, E.flushAck, 0],
    [303, 1, E.callFunctionSingleExit],
    [400, 0, E.flushDone, 3, 1, 300],
    [401, 1, E.flushDone, 3, 1, 300],
  )
  expect(first).toMatchObject({ initiatorCpu: 0, local: { reason: 3, pages: 1 }, ipiCpus: [1], cycles: 300 })
  expect(first?.responders).toMatchObject([{ cpu: 1, reason: 1, pages: -1, cycles: 3 }])
  expect(second).toMatchObject({ initiatorCpu: 1, local: { reason: 3, pages: 2 }, ipiCpus: [0], cycles: 300 })
  expect(second?.responders).toMatchObject([{ cpu: 0, reason: 1, pages: 2, cycles: 3 }])
})

test('one interrupt serves every request on the list, and only the first sender paid for it', () => {
  const [first, second] = summarize(
    [100, 0, E.flushBegin, 3, 0, 0, 1, 5],
    [101, 1, E.flushBegin, 4, 0, 0, 1, 9],
    [102, 0, E.csdQueueCpu, 2],
    [102, 0, E.ipiSendCpu, 2, CALLBACK_CALL_FUNCTION],
    [103, 1, E.csdQueueCpu, 2],
    [200, 2, E.callFunctionSingleEntry],
    [210, 2, E.tlbFlush, 1, 1],
    [211, 2, E.flushAck, 0],
    [220, 2, E.tlbFlush, 0, 5],
    [221, 2, E.flushAck, 1],
    [230, 2, E.callFunctionSingleExit],
  )
  expect(first?.responders).toEqual(
    [{ cpu: 2, startCycle: 200, ackCycle: 211, reason: 1, pages: 1, cycles: 11, interrupted: true }])
  expect(second?.responders).toEqual(
    [{ cpu: 2, startCycle: 211, ackCycle: 221, reason: 5, pages: 0, cycles: 19, interrupted: false }])
  expect(second).toMatchObject({ ipiCpus: [], endCycle: undefined, cycles: undefined })
})

test('a flush that stays on its CPU has no responders', () => {
  const [flush] = summarize(
    [100, 0, E.flushBegin, 3, 0, 0, 1, 5],
    [101, 0, E.flushSkip, 1, 'not loaded'],
    [102, 0, E.tlbFlush, 1, 3],
    [103, 0, E.flushDone, 3, 0, 3],
  )
  expect(flush).toMatchObject({ responders: [], ipiCpus: [], local: { reason: 3, pages: 1 }, cycles: 3 })
})

test('switch flushes, wake-ups and what a handler sends belong to no request', () => {
  const [flush, ...others] = summarize(
    [50, 0, E.tlbFlush, -1, 0],
    [60, 0, E.ipiSendCpu, 1, CALLBACK_CALL_FUNCTION],
    [100, 0, E.flushBegin, 3, 0, 0, 1, 5],
    [110, 0, E.callFunctionSingleEntry],
    [111, 0, E.ipiSendCpu, 3, CALLBACK_CALL_FUNCTION],
    [112, 0, E.callFunctionSingleExit],
    [113, 0, E.ipiSendCpu, 2, CALLBACK_RESCHEDULE],
    [120, 0, E.flushDone, 3, 0, 20],
  )
  expect(others).toEqual([])
  expect(flush).toMatchObject({ responders: [], ipiCpus: [], local: undefined })
})

test('without acknowledgements in the trace a handler answers for every request that waits for its CPU', () => {
  const [flush] = summarize(
    [100, 0, E.flushBegin, 3, 0, 0, 8, 5],
    [102, 0, E.csdQueueCpu, 1],
    [102, 0, E.ipiSendCpu, 1, CALLBACK_CALL_FUNCTION],
    [200, 1, E.callFunctionSingleEntry],
    [210, 1, E.tlbFlush, -1, 0],
    [220, 1, E.callFunctionSingleExit],
    [300, 0, E.flushDone, 3, 1, 200],
  )
  expect(flush?.responders).toEqual(
    [{ cpu: 1, startCycle: 200, ackCycle: 220, reason: 0, pages: -1, cycles: 20, interrupted: true }])
})

test('an idle CPU that polls answers without an interrupt', () => {
  const [flush] = summarize(
    [100, 0, E.flushBegin, 3, 0, 0, 8, 5],
    [102, 0, E.csdQueueCpu, 1],
    [200, 1, E.tlbFlush, 8, 1],
    [201, 1, E.flushAck, 0],
    [300, 0, E.flushDone, 3, 1, 200],
  )
  expect(flush?.responders).toEqual(
    [{ cpu: 1, startCycle: undefined, ackCycle: 201, reason: 1, pages: 8, cycles: 0, interrupted: false }])
})
