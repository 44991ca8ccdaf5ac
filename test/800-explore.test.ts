// Exploring timings: a seed is a legal run of the same scenario and the same in every engine; bugs of the
// catalogue are found in plain small programs; a failure becomes a small scenario of its own.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Cluster } from '../src/engine/cluster.js'
import type { BugName } from '../src/kernel/bugs.js'
import { Perturber } from '../src/kernel/perturbation.js'
import { loadScenario } from '../src/scenario/parse.js'
import type { Scenario } from '../src/scenario/scenario.js'
import { runSeeds } from '../src/study/explore.js'
import type { ExploreTask } from '../src/study/explore.js'
import { perturbed, PERTURBATION_KINDS } from '../src/study/perturb.js'
import { searchSeeds } from '../src/study/seed-search.js'
import { failingTree, shrink } from '../src/study/shrink.js'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'
import { fingerprint } from './support/compare-runs.js'

const HUNT = join(ROOT, 'scenarios/hunt')
const FILES = readdirSync(HUNT).filter(name => name.endsWith('.yaml'))
const SEEDS = Array.from({ length: 25 }, (_, seed) => seed)
const cluster = new Cluster()
afterAll(() => cluster.close())
const LONG = { timeout: 600_000 }

function load(file: string): Promise<Scenario> {
  return loadScenario(join(HUNT, file), {}, () => expect.unreachable('no hunt needs a trace'))
}

function taskOf(file: string, overrides: ExploreTask['overrides'] = {}, more: Partial<ExploreTask> = {}): ExploreTask {
  const path = join(HUNT, file)
  return {
    text: readFileSync(path, 'utf8'), file: path, overrides, kinds: PERTURBATION_KINDS, seeds: SEEDS,
    expectations: true, bail: false, wanted: '', plainMustPass: false, ...more,
  }
}

describe('a seed', () => {
  test('0 is the run that the scenario describes', async () => {
    const { config, image } = await load('fork-and-munmap.yaml')
    expect(perturbed({ config, image }, 0, PERTURBATION_KINDS)).toEqual({ config, image })
  })

  test('gives the same bytes in every engine and twice, and another run than its neighbours', LONG, async () => {
    const scenario = await load('switch-and-dontneed.yaml')
    const cycles = new Set<number>()
    for (const seed of [1, 2, 3, 4]) {
      const run = perturbed(scenario, seed, PERTURBATION_KINDS)
      const reference = await fingerprint(run, { engine: 'reference' })
      expect(await fingerprint(perturbed(scenario, seed, PERTURBATION_KINDS), { engine: 'inline' })).toEqual(reference)
      expect(await fingerprint(run, { engine: 'threads', cluster, shortestWorkerWindow: 0 })).toEqual(reference)
      cycles.add(reference.cycle)
    }
    expect(cycles.size).toBe(4)
  })

  test('leaves alone what it may not change', async () => {
    const scenario = await load('switch-and-dontneed.yaml')
    const onlyPauses = perturbed(scenario, 7, ['pauses'])
    expect(onlyPauses.config.machine).toBe(scenario.config.machine)
    expect(onlyPauses.config.perturbation?.kinds).toEqual([])
    const ops = (run: { image: Scenario['image'] }): string[] => run.image.programs[0]!.code.map(({ op }) => op)
    const kept = ops(onlyPauses).filter(op => op !== 'compute' && op !== 'yield')
    expect(kept).toEqual(ops(scenario).filter(op => op !== 'compute' && op !== 'yield'))
    expect(ops(onlyPauses).length).toBeGreaterThan(ops(scenario).length)
  })

  test('never makes a step, an interrupt or a store faster', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const perturber = new Perturber({ seed, kinds: ['steps', 'stalls', 'interrupts', 'locks', 'stores'] }, 2)
      for (const cycles of [1, 7, 400]) {
        for (const taken of [perturber.step(seed % 2, cycles), perturber.wire(1, cycles), perturber.store(0, cycles)]) {
          expect(Number.isSafeInteger(taken) && taken >= cycles).toBe(true)
        }
      }
      expect(perturber.waiter(0, 1)).toBe(0)
      expect([0, 1, 2]).toContain(perturber.waiter(0, 3))
    }
  })
})

describe('without bugs no timing breaks anything', () => {
  for (const file of FILES) {
    test(file, LONG, async () => {
      for (const era of ['linux-6.x', 'linux-4.6'] as const) {
        expect(await runSeeds(taskOf(file, { era }))).toEqual({ runs: SEEDS.length, failures: [] })
      }
    })
  }

  test('collapse-and-gup.yaml in a Xen guest, whose flushes interrupt nobody', LONG, async () => {
    const task = taskOf('collapse-and-gup.yaml', { policy: 'xen' })
    expect(await runSeeds(task)).toEqual({ runs: SEEDS.length, failures: [] })
  })
})

describe('a bug of the catalogue is found in a plain program', () => {
  const HUNTS: readonly [string, BugName, string][] = [
    ['munmap-and-sleep.yaml', 'h06-lazy-cpu-skips-freed-tables', 'I2'],
    ['device-and-munmap.yaml', 'h10-device-area-unlinked-before-flush', 'I1'],
    ['kthread-and-munmap.yaml', 'h09-use-mm-with-interrupts-on', 'I12'],
    ['hugetlb-and-munmap.yaml', 'h11-hugetlb-unshare-without-flush', 'I8'],
  ]
  for (const [file, bug, invariant] of HUNTS) {
    test(bug, LONG, async () => {
      const { failures } = await runSeeds(taskOf(file, { bugs: [bug] }, { bail: true }))
      expect(failures.map(({ name }) => name)).toEqual([invariant])
    })
  }
})

describe('a search', () => {
  test('gives the first failing seed, whatever the number of jobs', LONG, async () => {
    const { seeds: _, bail: __, ...task } = taskOf('device-and-munmap.yaml', {
      bugs: ['h10-device-area-unlinked-before-flush'],
    })
    const answers = await Promise.all([1, 3].map(jobs => searchSeeds(task, runSeeds, {
      first: 0, count: 60, bail: true, jobs,
    })))
    expect(answers[0]).toEqual(answers[1])
    expect(answers[0]!.runs).toBe(answers[0]!.failures[0]!.seed + 1)
  })

  test('shrinks a failure to few operations that still fail in the same way', LONG, async () => {
    const task = taskOf('tables-and-munmap.yaml', { bugs: ['h12-pae-top-entry-without-full-flush'] }, { bail: true })
    const { failures: [failure] } = await runSeeds(task)
    const start = { tree: failingTree(task), failure: failure!, kinds: task.kinds }
    const options = { maxRuns: 1500, jobs: 1 }
    const shrunk = await shrink(start, task, runSeeds, options)
    expect(shrunk.operationsBefore).toBe(9)
    expect(shrunk.operations).toBeLessThanOrEqual(3)
    const again = { text: shrunk.text, overrides: {}, kinds: shrunk.kinds, seeds: [shrunk.failure.seed] }
    expect((await runSeeds({ ...task, ...again })).failures).toEqual([shrunk.failure])
    expect(shrunk.failure.name).toBe(failure!.name)
    expect(await shrink(start, task, runSeeds, options)).toEqual(shrunk)
  })
})

describe('shootdown explore', () => {
  const BUG = ['scenarios/hunt/tables-and-munmap.yaml', '--bugs', 'h12-pae-top-entry-without-full-flush']

  test('finds a bug, writes the shrunk scenario, and both commands that it prints show it again', LONG, async () => {
    const output = join(temporaryFolder(), 'small.yaml')
    const found = await shootdown(['explore', ...BUG, '--seeds', '40', '--shrink-runs', '300', '--output', output])
    expect(found.code).toBe(1)
    const again = /^again: shootdown (.*)$/m.exec(found.stdout)![1]!.split(' ')
    const seen = await shootdown([...again, '--json', '--no-shrink'])
    expect({ code: seen.code, name: JSON.parse(seen.stdout).failures[0].name }).toEqual({ code: 1, name: 'I2' })
    const small = /^# It fails with: shootdown (.*)$/m.exec(readFileSync(output, 'utf8'))![1]!.split(' ')
    const repeated = await shootdown([...small, ...(small[0] === 'explore' ? ['--no-shrink'] : [])])
    expect(repeated.code).not.toBe(0)
    expect(repeated.stdout + repeated.stderr).toContain('I2: cpu')
  })

  test('says that nothing failed, also as JSON', LONG, async () => {
    const quiet = ['explore', 'scenarios/hunt/tables-and-munmap.yaml', '--seeds', '3']
    expect(await shootdown(quiet)).toMatchObject({
      code: 0, stdout: 'scenarios/hunt/tables-and-munmap.yaml: 3 seeds run, nothing failed\n',
    })
    expect((await shootdown([...quiet.slice(0, -1), '1'])).stdout).toMatch(/: 1 seed run, nothing failed\n$/)
    const { stdout } = await shootdown([...quiet, '--json'])
    expect(JSON.parse(stdout)).toEqual({
      file: 'scenarios/hunt/tables-and-munmap.yaml', seeds: 3, runs: 3, isComplete: true, failures: [],
    })
  })

  test('refuses bad input with what was expected', async () => {
    const file = 'scenarios/hunt/tables-and-munmap.yaml'
    const cases: readonly [string[], RegExp][] = [
      [['nowhere.yaml'], /nowhere\.yaml:1:1: cannot read the scenario: no such file/],
      [[file, '--seeds', '0'], /expected a whole number from 1 to /],
      [[file, '--seeds', '99999999999'], /expected a whole number from 1 to /],
      [[file, '--seed', 'x'], /expected a whole number from 0 to /],
      [[file, '--bugs', 'h12-pae'], /unknown bug "h12-pae"/],
      [[file, '--bugs', 'h01-mask-bit-in-store-buffer'], /yaml:\d+:1: bug "h01.*is not one of linux-6/],
      [[file, '--perturb', 'pause'], /unknown kind of perturbation "pause"\ndid you mean "pauses"\?/],
      [[file, '--policy', 'linux'], /Allowed choices are/],
    ]
    for (const [args, message] of cases) {
      const { code, stdout, stderr } = await shootdown(['explore', ...args])
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
      expect(stderr).toMatch(message)
    }
    const lost = await shootdown(['explore', file, '--output', file])
    expect(lost).toMatchObject({ code: 2, stdout: '' })
    expect(existsSync(file)).toBe(true)
  })

  test('Ctrl-C ends it at once, with what was found', LONG, async () => {
    const startMs = performance.now()
    const { code, stdout, stderr } = await shootdown(
      ['explore', 'scenarios/hunt/tables-and-munmap.yaml', '--seeds', '1000000'],
      { prefix: ['timeout', '--preserve-status', '--signal=INT', '5'] })
    expect(code).toBe(130)
    expect(stderr).toContain('interrupted by SIGINT while exploring')
    expect(stdout).toMatch(/tables-and-munmap\.yaml: [\d,]+ of 1,000,000 seeds run, nothing failed\n$/)
    expect(performance.now() - startMs).toBeLessThan(60_000)
  })
})
