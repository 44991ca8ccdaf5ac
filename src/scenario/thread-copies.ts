// `copies:` of a thread: the same program once for each of several CPUs, so that a scenario grows with its
// machine. A copy is a thread like any other: it has its number behind its name, and behind the names of the
// areas that the program maps, since each copy maps its own.

import { comm } from './fields.js'
import { MAX_CPUS, type RawOperation } from './schema-operations.js'
import type { RawThread } from './schema.js'
import type { Path, YamlSource } from './yaml-source.js'

/** Operations whose value may be just the name of an area. */
const AREA_OPERATIONS: ReadonlySet<string> = new Set([
  'touch', 'read', 'write', 'exec', 'load', 'munmap', 'migrate', 'numaHint', 'gupFast',
])
/** Operations that give an area its name. */
const NAMING_OPERATIONS: ReadonlySet<string> = new Set(['mmap', 'mremap'])

/** The threads that `thread` stands for on a machine with `cpus` CPUs: itself, or its copies. May be none. */
export function threadCopies(source: YamlSource, thread: RawThread, path: Path, cpus: number): RawThread[] {
  const { copies, ...plain } = thread
  if (copies === undefined) return [thread]
  if (thread.cpu === undefined) {
    throw source.error('copies of a thread need the CPU of the first one', [...path, 'copies'],
      ['add "cpu:"; the others follow it'], 'key')
  }
  const first = thread.cpu
  const count = copies === 'rest' ? Math.max(0, cpus - first) : copies
  const areas = new Set<string>()
  collectAreas(thread.program, areas)
  return Array.from({ length: Math.min(count, MAX_CPUS) }, (_, index) => {
    const name = `${thread.name}-${index}`
    if (!comm.safeParse(name).success) {
      throw source.error(`the name of copy ${index}, "${name}", is too long for a task`, [...path, 'name'],
        ['a task name has at most 15 characters'])
    }
    return { ...plain, name, cpu: first + index, program: renameAreas(thread.program, areas, `-${index}`) }
  })
}

function collectAreas(value: unknown, into: Set<string>): void {
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    if (NAMING_OPERATIONS.has(key) && typeof inner?.name === 'string') into.add(inner.name)
    collectAreas(inner, into)
  }
}

function renameAreas(program: RawOperation[], areas: ReadonlySet<string>, suffix: string): RawOperation[] {
  const renamed = (value: unknown): unknown => typeof value === 'string' && areas.has(value) ? value + suffix : value
  const copy = (value: unknown, isNaming: boolean): unknown => {
    if (Array.isArray(value)) return value.map((item) => copy(item, false))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => {
      const isName = key === 'area' || AREA_OPERATIONS.has(key) || (isNaming && key === 'name')
      return [key, isName && typeof inner === 'string' ? renamed(inner) : copy(inner, NAMING_OPERATIONS.has(key))]
    }))
  }
  return copy(program, false) as RawOperation[]
}
