// `shootdown policies`: the comparison of all policies on the same workloads, and the README's copy of it.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { POLICY_NAMES } from '../src/kernel/policies.js'
import { scenarioFiles } from '../src/cli/scenario-files.js'
import { comparisonMarkdown, LOWER_BOUND, policyTasks, refillMisses, runPolicy,
} from '../src/study/policy-comparison.js'
import type { PolicyCost } from '../src/study/policy-comparison.js'
import { ROOT, shootdown } from './support/cli.js'

const WORKLOADS = scenarioFiles([join(ROOT, 'scenarios/policies')])
const BEGIN = '<!-- shootdown policies --markdown -->\n'
const END = '<!-- end of the comparison -->'

async function costsOf(files: readonly string[], policies: readonly string[]): Promise<PolicyCost[]> {
  const costs: PolicyCost[] = []
  for (const task of policyTasks(files, policies)) {
    const { cost } = await runPolicy(task)
    if (cost === undefined) throw new Error(`${task.file} was refused under ${task.policy}`)
    costs.push(cost)
  }
  return costs
}

describe('the comparison of policies', () => {
  test('runs every workload under every policy, and the README shows what comes out (UPDATE_DOCS=1)',
    { timeout: 600_000 }, async () => {
      const costs = await costsOf(WORKLOADS, POLICY_NAMES)
      expect(costs.filter(({ problem }) => problem !== '')).toEqual([])
      expect(costs.length).toBe(4 * POLICY_NAMES.length)
      const file = join(ROOT, 'README.md')
      const text = readFileSync(file, 'utf8')
      const [before, rest] = text.split(BEGIN)
      const wanted = `${before}${BEGIN}\n${comparisonMarkdown(costs)}\n${END}${rest!.split(END)[1]}`
      if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, wanted)
      else expect(text).toBe(wanted)
      // Nobody needs less than the lower bound.
      for (const cost of costs) {
        const bound = costs.find(other => other.file === cost.file && other.policy === LOWER_BOUND)!
        expect(cost.initiatorCycles).toBeGreaterThanOrEqual(bound.initiatorCycles)
        expect(bound.responderCycles).toBe(0)
      }
    })

  test('counts refill misses only against a lower bound that was run', () => {
    const cost = { file: 'a', workload: 'a', policy: 'eager', ipis: 1, initiatorCycles: 1, responderCycles: 1, walks: 7,
      totalCycles: 9, problem: '' }
    expect(refillMisses(cost, [cost])).toBeUndefined()
    expect(refillMisses(cost, [cost, { ...cost, policy: LOWER_BOUND, walks: 5 }])).toBe(2)
    expect(comparisonMarkdown([cost])).toContain('| `eager` | 1 | 1 | 1 | - | 9 |')
  })

  test('as a command: tables, JSON, other machines, an overcommitted host', { timeout: 120_000 }, async () => {
    const file = 'scenarios/policies/4-lazy-ping-pong.yaml'
    const text = await shootdown(['policies', file, '--policy', 'linux-6.x,kvm-pv'])
    expect(text.code).toBe(0)
    expect(text.stdout).toMatch(/^lazy-ping-pong\n {2}policy +IPIs .*\n {2}linux-6.x .*\n {2}kvm-pv .*\n/)
    const json = await shootdown(['policies', file, '--policy', 'kvm-pv', '--json', '--machine', 'milan',
      '--overcommit', '20000/30000'])
    const { ok, runs } = JSON.parse(json.stdout) as { ok: boolean; runs: PolicyCost[] }
    expect([ok, runs.length, runs[0]!.policy]).toEqual([true, 1, 'kvm-pv'])
  })

  test('says what is wrong with its input', { timeout: 60_000 }, async () => {
    const wrong = await shootdown(['policies', '--policy', 'linux-7'])
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('unknown policy "linux-7"')])
    expect((await shootdown(['policies', '--overcommit', '0/5'])).code).toBe(2)
    expect((await shootdown(['policies', 'no-such-file.yaml'])).code).toBe(2)
  })
})
