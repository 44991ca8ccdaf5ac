// Smaller scenarios than a given one, as edits of its plain tree (lists, maps, values): fewer tasks,
// CPUs, operations, repetitions, pages. An edit may well give something that is no scenario any
// more (an area used that nobody maps); parsing it finds that out. Nothing here runs anything.
//
// A pass is a list of edits of one sort. Each edit makes a new tree; the old one stays.

/** A value of a YAML document: a list, a map or a scalar. */
export type Tree = unknown
type TreeMap = Record<string, Tree>
type TreePath = readonly (string | number)[]

/** Gives the edits of one sort for a tree, the ones that take away most first. */
export type Pass = (tree: Tree) => Generator<Tree>

/** In this order: what takes away most comes first. */
export const PASSES: readonly Pass[] = [
  withoutTasks, withoutOperations, withoutBodies, fewerCpus, smallerNumbers, withoutKeys, shorterForms,
]

/** Keys of a scenario that it may do without. */
const OPTIONAL_KEYS = ['expect', 'lookFor', 'question', 'name', 'machine', 'kernel', 'files', 'seed', 'kernelThreads']
/** Operations with a program of their own. */
const CHILD_PROGRAMS = ['fork', 'clone', 'vfork', 'execve']
/** How long, how often, how much. */
const NUMBERS = [
  'times', 'pages', 'passes', 'count', 'entries', 'bytes', 'toPages', 'compute', 'sleep', 'irqsOff', 'nice',
]

/** Operations of all programs, those inside forks and repetitions included. */
export function countOperations(tree: Tree): number {
  let count = 0
  for (const path of programPaths(tree)) count += (valueAt(tree, path) as Tree[]).length
  return count
}

function* withoutKeys(tree: Tree): Generator<Tree> {
  for (const key of OPTIONAL_KEYS) if (key in (tree as TreeMap)) yield removed(tree, [key])
  for (const parent of ['machine', 'kernel', 'machine.costs', 'machine.tlb']) {
    const path = parent.split('.')
    const value = valueAt(tree, path)
    if (!isMap(value)) continue
    for (const key of Object.keys(value)) yield removed(tree, [...path, key])
  }
  for (const [path, value] of mapsOf(tree, [])) {
    for (const key of ['expectError', 'stride', 'populate', 'cpu', 'cpus', 'prot', 'offset', 'at', 'fixed']) {
      if (key in value && path.length > 0) yield removed(tree, [...path, key])
    }
  }
}

function* withoutTasks(tree: Tree): Generator<Tree> {
  for (const path of taskLists(tree)) {
    const tasks = valueAt(tree, path) as Tree[]
    for (let at = tasks.length - 1; at >= 0 && tasks.length > 1; at--) yield removed(tree, [...path, at])
  }
}

/** Delta debugging over each list of operations: halves, quarters, ..., single ones. */
function* withoutOperations(tree: Tree): Generator<Tree> {
  for (const path of programPaths(tree)) {
    const { length } = valueAt(tree, path) as Tree[]
    for (let size = Math.ceil(length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let from = length - size; from > -size; from -= size) {
        const start = Math.max(0, from)
        const rest = (valueAt(tree, path) as Tree[]).filter((_, at) => at < start || at >= from + size)
        if (rest.length > 0) yield replaced(tree, path, rest)
      }
    }
  }
}

/** A repetition becomes what it repeats. */
function* withoutBodies(tree: Tree): Generator<Tree> {
  for (const path of programPaths(tree)) {
    const operations = valueAt(tree, path) as Tree[]
    for (const [at, operation] of operations.entries()) {
      if (!isMap(operation)) continue
      const { repeat } = operation
      if (isMap(repeat)) yield replaced(tree, path, operations.toSpliced(at, 1, ...(repeat['do'] as Tree[])))
    }
  }
}

/** One CPU less, the tasks of the last one moved to another; a machine needs one. */
function* fewerCpus(tree: Tree): Generator<Tree> {
  const cpus = (tree as TreeMap)['cpus'] ?? valueAt(tree, ['machine', 'cpus']) ?? 2
  if (typeof cpus !== 'number' || cpus < 2) return
  const without = removed(tree, ['machine', 'cpus'])
  for (let target = 0; target < cpus - 1; target++) {
    let fewer = replaced(without, ['cpus'], cpus - 1)
    for (const [path, value] of mapsOf(fewer, [])) {
      if (value['cpu'] === cpus - 1) fewer = replaced(fewer, [...path, 'cpu'], target)
      const list = value['cpus']
      if (Array.isArray(list)) {
        fewer = replaced(fewer, [...path, 'cpus'], [...new Set(list.map(cpu => (cpu === cpus - 1 ? target : cpu)))])
      }
    }
    yield fewer
  }
}

function* smallerNumbers(tree: Tree): Generator<Tree> {
  for (const [path, value] of mapsOf(tree, [])) {
    for (const key of NUMBERS) {
      const number = value[key]
      if (typeof number !== 'number' || number <= 1) continue
      const rounded = roundDown(number / 2)
      for (const smaller of new Set([1, rounded, number - 1])) {
        if (smaller < number && (key !== 'compute' || smaller > 1)) yield replaced(tree, [...path, key], smaller)
      }
    }
  }
}

/** The short form of a process with one thread. */
function* shorterForms(tree: Tree): Generator<Tree> {
  const processes = (tree as TreeMap)['processes']
  for (const [at, process] of (Array.isArray(processes) ? processes : []).entries()) {
    if (!isMap(process) || !Array.isArray(process['threads']) || process['threads'].length !== 1) continue
    const { threads, ...rest } = process
    const { name: _, ...thread } = (threads as TreeMap[])[0]!
    yield replaced(tree, ['processes', at], { ...rest, ...thread })
  }
}

/** To one leading digit: 4321 becomes 4000, so that searching by halves ends soon and reads well. */
function roundDown(number: number): number {
  if (number < 10) return Math.max(1, Math.floor(number))
  const unit = 10 ** Math.floor(Math.log10(number))
  return Math.floor(number / unit) * unit
}

/** Paths of lists of tasks. */
function taskLists(tree: Tree): TreePath[] {
  const lists: TreePath[] = []
  const processes = (tree as TreeMap)['processes']
  for (const at of Array.isArray(processes) ? processes.keys() : []) {
    if (Array.isArray(valueAt(tree, ['processes', at, 'threads']))) lists.push(['processes', at, 'threads'])
  }
  return [['processes'], ...lists, ...((tree as TreeMap)['kernelThreads'] === undefined ? [] : [['kernelThreads']])]
}

/** Paths of lists of operations; those of an outer list before those inside it. */
function programPaths(tree: Tree): TreePath[] {
  const paths: TreePath[] = []
  const visit = (path: TreePath): void => {
    const program = valueAt(tree, path)
    if (!Array.isArray(program)) return
    paths.push(path)
    for (const [at, operation] of program.entries()) {
      if (!isMap(operation)) continue
      for (const name of CHILD_PROGRAMS) if (name in operation) visit([...path, at, name, 'program'])
      if ('repeat' in operation) visit([...path, at, 'repeat', 'do'])
    }
  }
  for (const [key, value] of Object.entries(tree as TreeMap)) {
    if ((key !== 'processes' && key !== 'kernelThreads') || !Array.isArray(value)) continue
    for (const at of value.keys()) {
      visit([key, at, 'program'])
      const threads = valueAt(tree, [key, at, 'threads'])
      if (Array.isArray(threads)) for (const thread of threads.keys()) visit([key, at, 'threads', thread, 'program'])
    }
  }
  return paths
}

/** Every map below `tree`, with its path. */
function* mapsOf(tree: Tree, path: TreePath): Generator<[TreePath, TreeMap]> {
  if (Array.isArray(tree)) {
    for (const [at, value] of tree.entries()) yield* mapsOf(value, [...path, at])
  } else if (isMap(tree)) {
    yield [path, tree]
    for (const [key, value] of Object.entries(tree)) yield* mapsOf(value, [...path, key])
  }
}

function isMap(value: Tree): value is TreeMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function valueAt(tree: Tree, path: TreePath): Tree {
  let value = tree
  for (const step of path) value = (value as TreeMap | undefined | null)?.[step as string]
  return value
}

/** The tree with `value` at `path`; maps on the way are made where they are missing. */
export function replaced(tree: Tree, path: TreePath, value: Tree): Tree {
  const [step, ...rest] = path
  if (step === undefined) return value
  if (Array.isArray(tree)) return tree.with(step as number, replaced(tree[step as number], rest, value))
  return { ...(tree as TreeMap), [step]: replaced((tree as TreeMap | undefined)?.[step], rest, value) }
}

/** The tree without what is at `path`; a map that is empty then goes as well. */
function removed(tree: Tree, path: TreePath): Tree {
  const [step, ...rest] = path
  if (Array.isArray(tree)) {
    const at = step as number
    return rest.length === 0 ? tree.toSpliced(at, 1) : tree.with(at, removed(tree[at], rest))
  }
  if (!isMap(tree) || !(step! in tree)) return tree
  const { [step!]: value, ...others } = tree
  if (rest.length === 0) return others
  const shorter = removed(value, rest)
  return isMap(shorter) && Object.keys(shorter).length === 0 ? others : { ...tree, [step!]: shorter }
}
