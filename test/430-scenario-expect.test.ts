// `expect:` against facts: what holds, what does not, and what the message says.

import { expect, test } from 'vitest'
import { checkExpectations, type RunFacts } from '../src/scenario/expect.js'
import { parseScenario } from '../src/scenario/parse.js'
import type { ScenarioOverrides } from '../src/scenario/scenario.js'
import { EVENT_VOCABULARY } from '../src/trace/vocabulary.js'

const facts: RunFacts = {
  counters: { ipisSent: 3, failedLoads: 0 },
  events: [
    { event: 'tlb_flush', cpu: 0, task: 'main', fields: { pages: 3, reason: 'remote IPI send' } },
    { event: 'tlb_flush', cpu: 1, task: 'one', fields: { pages: 3, reason: 'remote shootdown' } },
    { event: 'tlb_flush', cpu: 2, task: 'two', fields: { pages: 3, reason: 'remote shootdown' } },
    { event: 'ipi_send_cpu', cpu: 0, task: 'main', fields: { cpu: 1 } },
    { event: 'page_fault_user', cpu: 0, task: 'main', fields: { address: '0x0000000000b17010', errorCode: 4 } },
  ],
  outcomes: [
    { comm: 'p', pid: 1, outcome: 'exited' },
    { comm: 'c', pid: 2, outcome: 'exited' },
    { comm: 'c', pid: 3, outcome: 'SIGSEGV' },
  ],
}

async function check(expectation: string, overrides: ScenarioOverrides = {}): Promise<{ ok: boolean; text: string }> {
  const program = '[{fork: {name: c, program: [yield]}}]'
  const text = `processes: [{name: p, program: ${program}}]\nexpect:\n  - ${expectation}\n`
  const { expectations } = await parseScenario(text, 'x.yaml', overrides, () => { throw new Error('no trace') })
  const [result] = checkExpectations(expectations, facts)
  expect(result!.position).toEqual({ file: 'x.yaml', line: 3, column: 5 })
  return { ok: result!.ok, text: result!.text }
}

test('a counter is compared exactly or with bounds', async () => {
  expect(await check('{counter: ipisSent, equals: 3}')).toEqual({ ok: true, text: 'ipisSent is exactly 3' })
  expect(await check('{counter: ipisSent, atLeast: 1, atMost: 2}'))
    .toEqual({ ok: false, text: 'ipisSent is 1 to 2, but it is 3' })
  expect(await check('{counter: cowCopies, atMost: 0}')).toMatchObject({ ok: true })
})

test('events are counted by their fields, their CPU and their task', async () => {
  expect(await check('{event: tlb_flush, where: {reason: remote shootdown, pages: 3}, count: 2}'))
    .toMatchObject({ ok: true })
  expect(await check('{event: tlb_flush, where: {cpu: 1, task: one}, count: 1}')).toMatchObject({ ok: true })
  expect(await check('{event: tlb_flush, where: {cpu: 3}}'))
    .toEqual({ ok: false, text: 'at least 1 of tlb_flush with cpu=3, but there are 0' })
})

test('args. reaches a field of the event that is called like one of the record', async () => {
  expect(await check('{event: ipi_send_cpu, where: {cpu: 0, args.cpu: 1}, count: 1}')).toMatchObject({ ok: true })
  expect(await check('{event: ipi_send_cpu, where: {cpu: 1}, count: 0}')).toMatchObject({ ok: true })
})

test('numbers match in any notation and reasons in the spelling of either era', async () => {
  expect(await check('{event: page_fault_user, where: {address: 0xb17010, errorCode: 0x4}, count: 1}'))
    .toMatchObject({ ok: true })
  expect(await check('{event: tlb_flush, where: {reason: remote ipi send}, count: 1}')).toMatchObject({ ok: true })
})

test('a reason may also be the constant that the canonical trace prints', async () => {
  const events = { events: EVENT_VOCABULARY }
  expect(await check('{event: tlb_flush, where: {reason: TLB_REMOTE_SEND_IPI}, count: 1}', events))
    .toEqual({ ok: true, text: 'exactly 1 of tlb_flush with reason=remote IPI send' })
  expect(await check('{event: tlb_flush, where: {args.reason: 1}, count: 2}', events)).toMatchObject({ ok: true })
})

test('every task of a name must end as expected', async () => {
  expect(await check('{task: p, outcome: exited}')).toEqual({ ok: true, text: 'task p ends with exited' })
  expect(await check('{task: c, outcome: exited}'))
    .toEqual({ ok: false, text: 'task c ends with exited, but pid 3 ended with SIGSEGV' })
})
