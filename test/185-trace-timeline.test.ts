// What a timeline viewer is told: slices that nest, instants, and arrows from a request to its end.

import { expect, test } from 'vitest'
import { CALLBACK_CALL_FUNCTION, CALLBACK_RESCHEDULE, EVENT } from '../src/trace/events.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { Timeline } from '../src/trace/timeline.js'
import { tracedRun } from './support/traced-run.js'

const E = EVENT

/** Records `[cycle, cpu, pid, kind, ...words]`; strings are interned. One line for each item. */
function drawn(...records: [number, number, number, number, ...(number | string)[]][]): string[] {
  const recorder = new TraceRecorder()
  for (const [cycle, cpu, pid, kind, ...fields] of records) {
    const words = fields.map((field) => (typeof field === 'string' ? recorder.intern(field) : field))
    recorder.record(kind, cycle, cpu, pid, recorder.intern(`task${pid}`), 0, ...words as [])
  }
  const data = recorder.finish()
  const timeline = new Timeline(data)
  return Array.from(data.cycle).flatMap((cycle, i) => {
    const items = timeline.take(i).map(({ type, track, owner, name, flows, endingFlows }) => [
      cycle, type, `${track}${owner}`, name, ...flows.map((flow) => `~${flow}`),
      ...endingFlows.map((flow) => `~${flow}|`),
    ].join(' '))
    return items.concat(timeline.pending.map(({ cpu, count }) => `${cycle} pending cpu${cpu} ${count}`))
  })
}

test('arrows go from each queued request to its interrupt, handler, acknowledgement and end', () => {
  expect(drawn(
    [100, 0, 1, E.flushBegin, 3, 0, 4096, 8, 5],
    [110, 0, 1, E.csdQueueCpu, 1],
    [111, 0, 1, E.csdQueueCpu, 3],
    [120, 0, 1, E.ipiSendCpumask, 'a', CALLBACK_CALL_FUNCTION],
    [200, 1, 2, E.callFunctionEntry],
    [210, 1, 2, E.tlbFlush, 8, 1],
    [220, 1, 2, E.flushAck, 0],
    [230, 1, 2, E.callFunctionExit],
    [300, 3, 0, E.callFunctionEntry],
    [320, 3, 0, E.flushAck, 0],
    [330, 3, 0, E.callFunctionExit],
    [400, 0, 1, E.flushDone, 3, 2, 300],
  )).toEqual([
    '100 begin kernel0 flush',
    '110 instant kernel0 csd_queue_cpu ~1',
    '111 instant kernel0 csd_queue_cpu ~2',
    '120 instant kernel0 ipi_send_cpumask ~1 ~2', '120 pending cpu1 1', '120 pending cpu3 1',
    '200 begin kernel1 call_function ~1', '200 pending cpu1 0',
    '210 instant kernel1 tlb_flush',
    '220 instant kernel1 flush_ack ~1',
    '230 end kernel1 call_function',
    '300 begin kernel3 call_function ~2', '300 pending cpu3 0',
    '320 instant kernel3 flush_ack ~2',
    '330 end kernel3 call_function',
    '400 instant kernel0 flush_done ~1| ~2|', '400 end kernel0 flush',
  ])
})

test('a request that an earlier interrupt serves has its own arrow, without an interrupt', () => {
  expect(drawn(
    [100, 0, 1, E.flushBegin, 3, 0, 0, 1, 5],
    [105, 2, 3, E.flushBegin, 3, 0, 0, 1, 6],
    [110, 0, 1, E.csdQueueCpu, 1],
    [110, 0, 1, E.ipiSendCpu, 1, CALLBACK_CALL_FUNCTION],
    [115, 2, 3, E.csdQueueCpu, 1],
    [200, 1, 2, E.callFunctionSingleEntry],
    [210, 1, 2, E.flushAck, 0],
    [220, 1, 2, E.flushAck, 2],
    [230, 1, 2, E.callFunctionSingleExit],
    [300, 0, 1, E.flushDone, 3, 1, 200],
    [301, 2, 3, E.flushDone, 3, 1, 196],
  ).filter((line) => line.includes('~'))).toEqual([
    '110 instant kernel0 csd_queue_cpu ~1', '110 instant kernel0 ipi_send_cpu ~1',
    '115 instant kernel2 csd_queue_cpu ~2',
    '200 begin kernel1 call_function_single ~1', '210 instant kernel1 flush_ack ~1', '220 instant kernel1 flush_ack ~2',
    '300 instant kernel0 flush_done ~1|', '301 instant kernel2 flush_done ~2|',
  ])
})

test('two reschedule interrupts that arrive together are one handler with two arrows', () => {
  expect(drawn(
    [100, 0, 1, E.ipiSendCpu, 1, CALLBACK_RESCHEDULE],
    [101, 2, 3, E.ipiSendCpu, 1, CALLBACK_RESCHEDULE],
    [200, 1, 0, E.rescheduleEntry],
    [210, 1, 0, E.rescheduleExit],
  )).toEqual([
    '100 instant kernel0 ipi_send_cpu ~1', '100 pending cpu1 1',
    '101 instant kernel2 ipi_send_cpu ~2', '101 pending cpu1 2',
    '200 begin kernel1 reschedule ~1| ~2|', '200 pending cpu1 0', '210 end kernel1 reschedule',
  ])
})

test('a lazy stretch ends with the next switch of tasks, or when the CPU gives the mm up', () => {
  expect(drawn(
    [100, 0, 1, E.schedSwitch, 'S', 'swapper/0', 0], [110, 0, 0, E.enterLazyTlb, 2],
    [200, 0, 0, E.schedSwitch, 'R', 'task1', 1],
    [300, 0, 1, E.schedSwitch, 'S', 'swapper/0', 0], [310, 0, 0, E.enterLazyTlb, 2],
    [400, 0, 0, E.leaveMm, 2],
  )).toEqual([
    '110 begin lazy0 mm 2', '200 end lazy0 mm 2', '200 begin running0 task1', '300 end running0 task1',
    '310 begin lazy0 mm 2', '400 end lazy0 mm 2', '400 instant kernel0 leave_mm',
  ])
})

test('a system call goes on under the pid that execve() gives to its thread, and ends with its task', () => {
  expect(drawn(
    [100, 0, 8, E.sysEnter, 'execve', 0, 0, 0],
    [150, 0, 7, E.schedProcessExec, 'prog', 8],
    [160, 0, 7, E.sysExit, 'execve', 0],
    [170, 0, 7, E.sysEnter, 'exit', 0, 0, 0],
    [180, 0, 7, E.schedSwitch, 'Z', 'swapper/0', 0],
  )).toEqual([
    '100 begin task8 execve', '150 end task8 execve', '150 begin task7 execve', '150 instant task7 sched_process_exec',
    '160 end task7 execve', '170 begin task7 exit', '180 end task7 exit',
  ])
})

test.each(['tour/02-shootdown.yaml', 'tour/09-reclaim.yaml', 'policies/1-munmap-storm.yaml', 'tour/06-fork-cow.yaml'])(
  'in %s slices nest, every arrow goes forward, and no interrupt stays on its way', async (name) => {
    const { data, header } = await tracedRun(name)
    const timeline = new Timeline(data)
    const open = new Map<string, string[]>()
    const begun = new Set<number>()
    const ended = new Set<number>()
    const pending = new Map<number, number>()
    for (let i = 0; i < data.length; i++) {
      for (const { type, track, owner, name: slice, flows, endingFlows } of timeline.take(i)) {
        const key = `${track}${owner}`
        const stack = open.get(key) ?? []
        open.set(key, stack)
        if (type === 'begin') stack.push(slice)
        if (type === 'end') expect(stack.pop()).toBe(slice)
        for (const flow of flows) expect(ended.has(flow)).toBe(false)
        for (const flow of flows) begun.add(flow)
        for (const flow of endingFlows) expect(begun.has(flow)).toBe(true)
        for (const flow of endingFlows) ended.add(flow)
      }
      for (const { cpu, count } of timeline.pending) pending.set(cpu, count)
    }
    expect([...open].filter(([key, stack]) => key.startsWith('kernel') && stack.length > 0)).toEqual([])
    expect([...pending.values()].filter((count) => count !== 0)).toEqual([])
    expect([...pending.keys()].every((cpu) => cpu < header.cpus)).toBe(true)
    expect(begun.size).toBe(ended.size)
  })
