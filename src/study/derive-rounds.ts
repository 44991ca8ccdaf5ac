// The rounds of a captured program as operations of a scenario: what it maps and touches before each
// marker, the call that the marker names, and how it cleans up before the next round. Only what the
// capture shows or its markers say goes in; never the flushes, which are what is compared.

import type { Fact } from '../trace/capture-facts.js'
import type { Operation } from '../trace/capture-marks.js'
import { operationVerb } from '../trace/capture-marks.js'
import { addressOf, inventedTarget, offsetOf, targetOf, touchesOf, touchOperations } from './derive-memory.js'
import type { Target, Touch } from './derive-memory.js'

/** An operation of a scenario, as YAML has it. */
export type Step = string | Record<string, unknown>

export interface Round {
  operation: Operation
  verb: Verb
  /** Before BEGIN, between BEGIN and END, and behind END. */
  before: Step[]
  call: Step[]
  after: Step[]
}

export interface Verb {
  kind: 'munmap' | 'mprotect' | 'madvise' | 'mremap' | 'fork' | 'turns' | 'touch' | 'unknown'
  pages: number
  prot: string
  /** Protection before the call, where it is not rw. */
  from: string | undefined
  advice: string
  keepsTables: boolean
  saysKept: boolean
  isFixed: boolean
}

const ADVICES: Readonly<Record<string, string>> = {
  dontneed: 'dontneed', zap: 'dontneed', free: 'free', cold: 'cold', pageout: 'pageout',
}
const PROTECTIONS: Readonly<Record<string, string>> = {
  r: 'r', ro: 'r', read: 'r', readonly: 'r', tighten: 'r', wp: 'r', rw: 'rw', write: 'rw', loosen: 'rw', relax: 'rw',
  none: 'none', rx: 'rx', rwx: 'rwx',
}
const KINDS: readonly (readonly [RegExp, Verb['kind']])[] = [
  [/munmap|unmap/, 'munmap'], [/mprotect|protect|prot/, 'mprotect'], [/mremap|remap|move/, 'mremap'],
  [/madvise|dontneed|madv|advise|^free$|^zap$|^cold$|^pageout$/, 'madvise'], [/fork/, 'fork'],
  [/ping|pong|pipe|switch|ctxsw|yield|futex|turns|sched/, 'turns'], [/touch|cow|write|read|fault|store/, 'touch'],
]

/** What a marker asks for. */
export function verbOf(name: string): Verb {
  const verb = operationVerb(name).toLowerCase()
  const pairs = name.toLowerCase().matchAll(/(?:^|\s)(\w+)=(\S+)/g)
  const values = new Map(Array.from(pairs, ([, key, value]) => [key!, value!]))
  const words = [...verb.split(/[^a-z0-9]+/), ...['prot', 'to', 'mode', 'dir', 'advice', 'how', 'kind', 'flags']
    .flatMap(key => (values.get(key) ?? '').replace(/^(madv|prot)_/, '').split(/[^a-z0-9]+/))]
  const find = (table: Readonly<Record<string, string>>): string | undefined =>
    words.flatMap(word => (table[word] === undefined ? [] : [table[word]])).at(-1)
  const prot = find(PROTECTIONS) ?? 'r'
  const from = PROTECTIONS[values.get('from') ?? ''] ?? (prot === 'rw' ? 'r' : undefined)
  return {
    kind: KINDS.find(([pattern]) => pattern.test(verb))?.[1] ?? 'unknown',
    pages: Number(values.get('pages') ?? values.get('npages') ?? values.get('n') ?? 0) || 0,
    prot, from: from === 'rw' ? undefined : from, advice: find(ADVICES) ?? 'dontneed',
    keepsTables: values.get('tables') !== 'freed',
    saysKept: values.get('tables') === 'kept', isFixed: words.some(word => /fixed|occupied/.test(word)),
  }
}

export class RoundMaker {
  readonly #facts: readonly Fact[]
  readonly #pid: number
  /** The marker and its threads: their pages are the same. */
  readonly #own: ReadonlySet<number>
  readonly #recordsFaults: boolean
  readonly notes: string[] = []
  /** What is mapped now, and whether the capture goes on with it. */
  #mapped: Target | undefined
  #areas = 0

  constructor(facts: readonly Fact[], pid: number, threads: readonly number[]) {
    this.#facts = facts
    this.#pid = pid
    this.#own = new Set([pid, ...threads])
    this.#recordsFaults = facts.some(fact => fact.kind === 'fault' && fact.pid === pid)
  }

  /** The next round. `sinceLine` is where the one before ended; `following` comes after it. */
  next(operation: Operation, sinceLine: number, following: Operation | undefined): Round {
    const verb = verbOf(operation.name)
    const round: Round = { operation, verb, before: [], call: [], after: [] }
    if (verb.kind === 'turns' || verb.kind === 'unknown') return round
    const earlier = this.#between(sinceLine, operation.firstLine)
    const touches = touchesOf(earlier, pid => this.#own.has(pid))
    const target = this.#target(verb, touches, operation, round)
    const inside = touchesOf(operation.facts, pid => pid === this.#pid)
    round.before.push(...touchOperations(touches, target.area))
    // Pages that are there are written without a fault; whether they are dirty matters to some calls.
    if (verb.kind === 'madvise' && verb.advice !== 'dontneed' && touches.length === 0) {
      round.before.push({ write: rangeOf(target) })
    }
    if (verb.kind === 'mprotect' && verb.from !== undefined) {
      round.before.push({ mprotect: { ...rangeOf(target), prot: verb.from } })
    }
    round.call.push(...callOf(verb, target, round), ...touchOperations(inside, target.area))
    this.#cleanUp(round, target, operation, following)
    return round
  }

  /** Maps what the call works on, unless it is still there. */
  #target(verb: Verb, touches: readonly Touch[], operation: Operation, round: Round): Target {
    const mapped = this.#mapped
    const isSame = mapped !== undefined && touches.every(({ page }) =>
      page >= mapped.area.start && page < mapped.area.start + mapped.area.pages || !isNear(page, mapped))
    const found = targetOf(mapped !== undefined && isSame
      ? touches.filter(({ page }) => isNear(page, mapped)) : touches, verb.pages, this.#name())
    if (mapped !== undefined && isSame) {
      if (found === undefined) return withPages(mapped, verb.pages)
      const pages = verb.pages > 0 ? verb.pages : found.pages
      return { area: mapped.area, start: Math.max(mapped.area.start, found.start), pages }
    }
    const target = withNeighbours(found, verb)
      ?? inventedTarget(verb.pages, verb.keepsTables, this.#name(), this.#areas)
    if (found === undefined) {
      this.notes.push(this.#recordsFaults
        ? `line ${operation.firstLine}: no page fault shows the pages of "${operation.name}"; they are taken as present`
        : 'page faults were not recorded: the pages of each call are taken as present')
    }
    this.#areas += 1
    const { area } = target
    round.before.push({ mmap: {
      name: area.name, at: addressOf(area.start), pages: area.pages, fixed: true,
      ...(area.populated ? { populate: true } : {}),
    } })
    this.#mapped = target
    return target
  }

  #name(): string {
    return 'buf'
  }

  /** What happens to the area between this round and the next. */
  #cleanUp(round: Round, target: Target, operation: Operation, following: Operation | undefined): void {
    const later = this.#between(operation.lastLine, following?.firstLine ?? Infinity)
    const flushes = later.some(fact => fact.pid === this.#pid && fact.kind === 'flush' && !fact.isInterrupt
      && ['2', '3', '4'].includes(fact.record.fields['reason_id']!))
    const { area } = target
    const fresh = touchesOf(later, pid => this.#own.has(pid))
      .filter(touch => !touch.wasPresent && touch.page >= area.start && touch.page < area.start + area.pages)
    const isZapped = (page: number): boolean => (round.verb.kind === 'munmap' || round.verb.kind === 'madvise')
      && page >= target.start && page < target.start + target.pages
    const isWhole = round.verb.kind === 'munmap' && target.pages === area.pages
    const isRemapped = fresh.some(({ page }) => !isZapped(page)) || (fresh.length > 0 && flushes)
    // Without page faults a flush is the only sign; munmap needs a new mapping in any case.
    if (isRemapped || round.verb.kind === 'munmap' || (!this.#recordsFaults && flushes && round.verb.kind !== 'fork')) {
      if (!isWhole) round.after.push({ munmap: area.name })
      this.#mapped = undefined
    } else if (round.verb.kind === 'mprotect' && round.verb.prot !== 'rw' && isRepeated(operation, following)) {
      round.after.push({ mprotect: { ...rangeOf(target), prot: 'rw' } })
    } else if (round.verb.kind === 'mremap') {
      round.after.push({ munmap: area.name })
      this.#mapped = undefined
    }
  }

  #between(from: number, to: number): Fact[] {
    return this.#facts.filter(fact => fact.record.line > from && fact.record.line < to)
  }
}

/** The same call again has to find what it found before. */
function isRepeated(operation: Operation, following: Operation | undefined): boolean {
  return following !== undefined && following.name === operation.name
}

/** As many pages of the area that is mapped as a call names. */
function withPages({ area, start, pages }: Target, wanted: number): Target {
  if (wanted === 0 || wanted === pages) return { area, start, pages }
  const fits = start + wanted <= area.start + area.pages
  return { area, start: fits ? start : area.start, pages: Math.min(wanted, area.pages) }
}

/** A table that stays has other pages of the area in it, also where the capture begins too late to show them. */
function withNeighbours(target: Target | undefined, verb: Verb): Target | undefined {
  const isMeant = verb.kind === 'munmap' && verb.saysKept
  if (target === undefined || !isMeant || target.pages < target.area.pages) return target
  const { name, start, pages } = target.area
  return { ...target, area: { name, start: start - 1, pages: pages + 2, populated: false } }
}

/** The call itself, as steps between the markers. */
function callOf(verb: Verb, target: Target, round: Round): Step[] {
  const range = rangeOf(target)
  switch (verb.kind) {
    case 'munmap': return [{ munmap: range }]
    case 'mprotect': return [{ mprotect: { ...range, prot: verb.prot } }]
    case 'madvise': return [{ madvise: { ...range, advice: verb.advice } }]
    case 'mremap': {
      const to = addressOf(target.area.start + 2 ** 20)
      if (verb.isFixed) {
        round.before.push({ mmap: { name: 'destination', at: to, pages: target.pages, fixed: true, populate: true } })
      }
      return [{ mremap: { ...range, newAt: to } }]
    }
    default: return []
  }
}

function rangeOf({ area, start, pages }: Target): Record<string, unknown> {
  return { area: area.name, ...offsetOf(start - area.start), pages }
}

/** In the area or right beside it. */
function isNear(page: number, { area }: Target): boolean {
  return page >= area.start - 1 && page <= area.start + area.pages
}
