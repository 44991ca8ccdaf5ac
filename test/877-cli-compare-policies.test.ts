// `shootdown compare-policies`: one scenario under all policies, with the numbers of `shootdown policies`.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'
import { POLICY_NAMES } from '../src/kernel/policies.js'

const OPTIONS = { timeout: 240_000 }
const STORM = join(ROOT, 'scenarios/policies/4-lazy-ping-pong.yaml')

describe('compare-policies', () => {
  test('prints the numbers of shootdown policies, and writes a report', OPTIONS, async () => {
    const folder = temporaryFolder()
    const args = ['compare-policies', STORM, '--report', 'r.html', '--svg', 'figures', '--csv', 'r.csv']
    const [compared, policies] = await Promise.all([
      shootdown(args, { cwd: folder }), shootdown(['policies', STORM], { cwd: folder }),
    ])
    expect([compared.code, compared.stderr]).toEqual([0, ''])
    const [, ...rows] = compared.stdout.split('\n')
    expect(rows).toEqual(policies.stdout.split('\n').slice(1))
    expect(readFileSync(join(folder, 'r.html'), 'utf8')).toContain('lazy-ping-pong under all policies')
    expect(readFileSync(join(folder, 'r.csv'), 'utf8').split('\n').length).toBe(POLICY_NAMES.length + 2)
    expect(readFileSync(join(folder, 'figures/initiator.svg'), 'utf8')).toMatch(/^<svg /)
  })

  test('leaves out policies that cannot run the scenario, and says so', OPTIONS, async () => {
    const program = '[mmap: {name: a, pages: 1}, write: a, munmap: a]'
    const folder = temporaryFolder({
      's.yaml': `kernel: {pcid: true}\nprocesses: [{name: p, program: ${program}}]\n`,
    })
    const { code, stdout, stderr } = await shootdown(['compare-policies', 's.yaml', '--json', '--cpus', '1,2'],
      { cwd: folder })
    expect(code).toBe(0)
    const { ok, runs } = JSON.parse(stdout)
    expect(ok).toBe(true)
    expect(runs.map(({ policy }: { policy: string }) => policy)).not.toContain('linux-4.6')
    expect(stderr).toContain('left out: policy=linux-4.6 cpus=1: linux-4.6 never uses PCID\n')
  })

  test('says what is wrong with its input', OPTIONS, async () => {
    const folder = temporaryFolder({ 's.yaml': 'processes: [{name: p, program: [mnmap: a]}]\n' })
    const wrong = await shootdown(['compare-policies', 's.yaml'], { cwd: folder })
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toMatch(/^error: s.yaml:1:\d+: unknown operation "mnmap"/)
    const over = await shootdown(['compare-policies', STORM, '--report', STORM], { cwd: folder })
    expect([over.code, over.stderr]).toEqual([2, expect.stringContaining('it is an input of this run')])
    expect((await shootdown(['compare-policies', STORM, '--cpus', '0'], { cwd: folder })).code).toBe(2)
  })
})
