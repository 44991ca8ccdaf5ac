// From a failure to the smallest scenario that fails in the same way: edits (shrink-edits.ts) are tried
// one after the other, each under the seed that failed last, under the plain prices, and under a few
// other seeds, because an operation less moves everything that a seed has drawn. What fails with the same
// name is kept. Then the timing is made plainer, until either the prices alone do it or no kind of
// perturbation can be left out.
//
// The answer is a function of the scenario, the failure and the budget, which is counted in runs.

import { Document, isPair, isScalar, visit } from 'yaml'
import { YamlSource } from '../scenario/yaml-source.js'
import type { ExploreOutcome, ExploreTask, Failure } from './explore.js'
import type { PerturbationKind } from './perturb.js'
import { inOrder } from './seed-search.js'
import type { RunTask } from './seed-search.js'
import { countOperations, PASSES, replaced } from './shrink-edits.js'
import type { Tree } from './shrink-edits.js'

/** What is known to fail. */
export interface FailingRun {
  tree: Tree
  failure: Failure
  kinds: readonly PerturbationKind[]
}

export interface ShrunkFailure extends FailingRun {
  /** The scenario; an end of a file is part of it. */
  text: string
  operations: number
  operationsBefore: number
  /** Runs that it took. */
  runs: number
  /** Nothing smaller was found; otherwise the runs ended, or somebody was impatient. */
  isMinimal: boolean
}

export interface ShrinkOptions {
  /** Runs to spend. */
  maxRuns: number
  jobs: number
  signal?: AbortSignal
  onProgress?: (runs: number, operations: number) => void
}

/** Keys of a scenario as they are usually written. */
const KEY_ORDER = ['name', 'question', 'lookFor', 'kernel', 'bugs', 'cpus', 'machine', 'seed', 'files', 'processes']

/** Other seeds under which every edit is tried: few while much can go at once, more when little is left. */
const OTHER_SEEDS = [2, 60]

/** The failing scenario of an exploration as one that stands for itself: what the command line changed is in it. */
export function failingTree(task: Pick<ExploreTask, 'text' | 'file' | 'overrides'>): Tree {
  const { bugs, cpus, era, policy } = task.overrides
  let { tree } = new YamlSource(task.file, task.text)
  if (bugs !== undefined) tree = replaced(tree, ['bugs'], bugs)
  if (cpus !== undefined) tree = replaced(tree, ['cpus'], cpus)
  const { kernel } = tree as { kernel?: Tree }
  if (typeof kernel === 'string' && (era !== undefined || policy !== undefined)) {
    tree = replaced(tree, ['kernel'], { era: kernel })
  }
  if (policy !== undefined) tree = replaced(tree, ['kernel'], { ...(tree as { kernel?: object }).kernel, era, policy })
  else if (era !== undefined) tree = replaced(tree, ['kernel', 'era'], era)
  // Keys without a value, as an era that the policy brings, vanish.
  return JSON.parse(JSON.stringify(tree)) as Tree
}

/** Makes `start` smaller. It must fail when it is run, with the same name. */
export async function shrink(
  start: FailingRun, task: ExploreTask, run: RunTask<ExploreTask, ExploreOutcome>, options: ShrinkOptions,
): Promise<ShrunkFailure> {
  const state = new Shrinking(start, task, run, options)
  await state.edit()
  await state.calm()
  return state.result()
}

/** Any scenario can be made to stall or to miss an expectation: such a failure is one of some timings only. */
function dependsOnTiming({ kind }: Failure): boolean {
  return kind === 'stall' || kind === 'endless' || kind === 'expectation'
}

/** Can this failure be shrunk? Not when the plain scenario stalls or misses an expectation. */
export function canShrink(failure: Failure): boolean {
  return failure.seed !== 0 || !dependsOnTiming(failure)
}

class Shrinking {
  #best: FailingRun
  #runs = 0
  #isMinimal = true
  #otherSeeds: readonly number[] = []
  readonly #operationsBefore: number
  readonly #task: ExploreTask
  readonly #run: RunTask<ExploreTask, ExploreOutcome>
  readonly #options: ShrinkOptions

  constructor(start: FailingRun, task: ExploreTask, run: RunTask<ExploreTask, ExploreOutcome>, options: ShrinkOptions) {
    this.#best = start
    this.#operationsBefore = countOperations(start.tree)
    this.#task = task
    this.#run = run
    this.#options = options
  }

  result(): ShrunkFailure {
    const { tree } = this.#best
    return {
      ...this.#best, text: treeText(tree), operations: countOperations(tree), operationsBefore: this.#operationsBefore,
      runs: this.#runs, isMinimal: this.#isMinimal,
    }
  }

  /** Edits, pass by pass, until none of them helps any more. */
  async edit(): Promise<void> {
    for (const seeds of OTHER_SEEDS) {
      this.#otherSeeds = Array.from({ length: seeds }, (_, index) => index + 1)
      await this.#editUntilNothingHelps()
    }
  }

  async #editUntilNothingHelps(): Promise<void> {
    for (let before: Tree = undefined; before !== this.#best.tree && this.#mayGoOn();) {
      before = this.#best.tree
      for (const pass of PASSES) {
        // After a success the rest of the pass goes on where it was, over what is left.
        for (let tried = 0, from: Tree = undefined; from !== this.#best.tree && this.#mayGoOn();) {
          from = this.#best.tree
          const edits = [...pass(from)].slice(tried)
          tried += Math.max(0, await this.#firstThatFails(edits.map(tree => ({ tree, kinds: this.#best.kinds }))))
        }
      }
    }
  }

  /** The prices alone, or as few kinds of perturbation as can be. */
  async calm(): Promise<void> {
    const { tree } = this.#best
    const plain = { tree, kinds: this.#best.kinds, seeds: [0] }
    if (!dependsOnTiming(this.#best.failure) && await this.#firstThatFails([plain]) >= 0) return
    for (let before: FailingRun | undefined; before !== this.#best && this.#mayGoOn();) {
      before = this.#best
      const { kinds } = before
      await this.#firstThatFails(kinds.map(kind => ({ tree, kinds: kinds.filter(each => each !== kind) })))
    }
  }

  #mayGoOn(): boolean {
    const mayGoOn = this.#runs < this.#options.maxRuns && this.#options.signal?.aborted !== true
    if (!mayGoOn) this.#isMinimal = false
    return mayGoOn
  }

  /** Takes the first candidate that fails as the best; its index, or -1. */
  async #firstThatFails(
    candidates: readonly { tree: Tree; kinds: readonly PerturbationKind[]; seeds?: readonly number[] }[],
  ): Promise<number> {
    const { signal, jobs, onProgress } = this.#options
    const { seed, name } = this.#best.failure
    const start = (index: number): Promise<ExploreOutcome> => {
      const { tree, kinds, seeds = [...new Set([seed, 0, ...this.#otherSeeds])] } = candidates[index]!
      return this.#run({
        ...this.#task, text: treeText(tree), overrides: {}, kinds, seeds, bail: true, wanted: name,
        expectations: name === 'expectation', plainMustPass: dependsOnTiming(this.#best.failure),
      })
    }
    let index = 0
    for await (const { runs, failures } of inOrder(candidates.length, jobs + 1, start, signal)) {
      this.#runs += runs
      const [failure] = failures
      if (failure !== undefined) {
        this.#best = { tree: candidates[index]!.tree, kinds: candidates[index]!.kinds, failure }
        onProgress?.(this.#runs, countOperations(this.#best.tree))
        return index
      }
      onProgress?.(this.#runs, countOperations(this.#best.tree))
      index += 1
      if (!this.#mayGoOn()) return -1
    }
    return -1
  }
}

/** As people write it: keys in the usual order, short maps on one line, addresses in hexadecimal. */
export function treeText(tree: Tree): string {
  const map = tree as Record<string, Tree>
  const ordered = [...KEY_ORDER.filter(key => key in map), ...Object.keys(map).filter(key => !KEY_ORDER.includes(key))]
  const document = new Document(Object.fromEntries(ordered.map(key => [key, map[key]])))
  visit(document, {
    Map(_key, node, path) {
      const isLeaf = node.items.every(item => isScalar(item.value))
      if (isLeaf && path.length > 1 && (node.items.length > 1 || isPair(path.at(-1)))) node.flow = true
    },
    Pair(_key, { key, value }) {
      const isAddress = isScalar(key) && (key.value === 'at' || key.value === 'newAt')
      if (isAddress && isScalar(value) && typeof value.value === 'number') value.format = 'HEX'
    },
  })
  return document.toString({ lineWidth: 120, flowCollectionPadding: false })
}
