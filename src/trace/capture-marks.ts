// The operations of a capture, as its markers say: `BEGIN op=munmap pages=3 it=0` to `END ...`. What
// a handler does belongs to the operation in which it began, also when it ends behind the END.
//
// A capture without such markers is cut at its flush requests instead: each request, with what was
// done for it on other CPUs, is an operation. Then what happens between them is not looked at.

import type { Fact } from './capture-facts.js'
import { flushReasonText } from './events.js'

export interface Operation {
  /** As in the marker: `op=munmap pages=3`, without the number of the round. */
  name: string
  /** How many of the same name came before. */
  round: number
  /** Task that set the marker. */
  pid: number
  facts: readonly Fact[]
  firstLine: number
  lastLine: number
  /** The capture begins or ends inside of it. */
  isCut: boolean
  /** What lies between this operation and its neighbours. */
  around: readonly Fact[]
}

export interface Operations {
  how: 'marks' | 'requests'
  operations: readonly Operation[]
  /** Facts outside of every operation. */
  outside: readonly Fact[]
  notes: readonly string[]
}

const BEGIN = /^\s*(?:BEGIN|START)\b[:\s]*(.*?)\s*$/i
const END = /^\s*(?:END|STOP)\b[:\s]*(.*?)\s*$/i
/** What only counts rounds. */
const ROUND = /(?:^|\s)(?:it|iter|iteration|i|n|round|loop|seq|run)=\d+(?=\s|$)/gi

/** Text of a marker that begins an operation. */
export function beginMark(fact: Fact): string | undefined {
  return fact.kind === 'mark' ? BEGIN.exec(fact.record.payload)?.[1] : undefined
}

export function endMark(fact: Fact): string | undefined {
  return fact.kind === 'mark' ? END.exec(fact.record.payload)?.[1] : undefined
}

/** The name of an operation: its marker without the number of the round. */
export function operationName(text: string): string {
  return text.replace(ROUND, '').replace(/\s+/g, ' ').trim()
}

/** `op=munmap` as munmap; without such a key the first word. */
export function operationVerb(name: string): string {
  return /(?:^|\s)op=(\S+)/.exec(name)?.[1] ?? name.split(' ')[0] ?? ''
}

/** The operations of a trace. `isOurs` says of which tasks requests count when there are no markers. */
export function operationsOf(
  facts: readonly Fact[], isOurs: (pid: number) => boolean, how?: Operations['how'],
): Operations {
  const isMarked = how === undefined ? facts.some(fact => beginMark(fact) !== undefined) : how === 'marks'
  return isMarked ? markedOperations(facts) : requestedOperations(facts, isOurs)
}

class Draft {
  readonly facts: Fact[] = []
  readonly around: Fact[] = []
  isCut = true
  readonly name: string
  readonly begin: Fact

  constructor(name: string, begin: Fact) {
    this.name = name
    this.begin = begin
  }
}

function markedOperations(facts: readonly Fact[]): Operations {
  const drafts: Draft[] = []
  const outside: Fact[] = []
  const notes: string[] = []
  let open: Draft | undefined
  let gap: Fact[] = []
  /** Handlers that began inside: by CPU, the operation they belong to. */
  const handlers = new Map<number, Draft | undefined>()
  for (const fact of facts) {
    const begun = beginMark(fact)
    const ended = endMark(fact)
    if (begun !== undefined) {
      if (open !== undefined) notes.push(`line ${fact.record.line}: an operation begins inside of "${open.name}"`)
      open = new Draft(operationName(begun), fact)
      open.around.push(...gap)
      gap = []
      drafts.push(open)
    } else if (ended !== undefined) {
      if (open === undefined) notes.push(`line ${fact.record.line}: the end of an operation whose beginning is missing`)
      else open.isCut = false
      open = undefined
    } else {
      if (fact.kind === 'enter') handlers.set(fact.cpu, open)
      const owner = fact.handler === undefined ? open : handlers.get(fact.cpu) ?? open
      if (owner === undefined) {
        outside.push(fact)
        gap.push(fact)
        drafts.at(-1)?.around.push(fact)
      } else owner.facts.push(fact)
      if (fact.kind === 'leave') handlers.delete(fact.cpu)
    }
  }
  if (open !== undefined) notes.push(`"${open.name}" has no end: the capture ends inside of it`)
  return { how: 'marks', operations: numbered(drafts), outside, notes }
}

function requestedOperations(facts: readonly Fact[], isOurs: (pid: number) => boolean): Operations {
  const drafts = new Map<number, Draft>()
  const outside: Fact[] = []
  /** The last fact of each CPU's tasks, and requests that came from page faults. */
  const last: Fact[] = []
  const ofFaults = new Set<number>()
  for (const fact of facts) {
    const { request } = fact
    const isOfFault = !fact.isInterrupt && fact.kind === 'flush' && mayFlush(last[fact.cpu])
    if (isOfFault && request !== undefined) ofFaults.add(request.id)
    if (!fact.isInterrupt) last[fact.cpu] = fact
    if (isOfFault || (request !== undefined && ofFaults.has(request.id))) {
      outside.push(fact)
    } else if (request !== undefined && isOurs(request.pid)) {
      let draft = drafts.get(request.id)
      if (draft === undefined) drafts.set(request.id, draft = new Draft(`flush of ${pagesText(request.pages)}`, fact))
      draft.isCut = false
      draft.facts.push(fact)
    } else if (fact.kind === 'flush' && !fact.isInterrupt && isOurs(fact.pid) && isLocalRound(fact)) {
      const draft = new Draft(`flush of ${pagesText(fact.record.fields['pages']!)}, this CPU only`, fact)
      draft.isCut = false
      draft.facts.push(fact)
      drafts.set(-1 - fact.record.line, draft)
    } else {
      outside.push(fact)
    }
  }
  return { how: 'requests', operations: numbered([...drafts.values()]), outside, notes: [] }
}

/** A fault on a page that is there, for writing: a flush behind it is that of copy-on-write. */
function mayFlush(fact: Fact | undefined): boolean {
  return fact?.kind === 'fault' && (Number(fact.record.fields['error_code']) & 3) === 3
}

/** A flush that a task asked for and that went to no other CPU. */
function isLocalRound(fact: Fact): boolean {
  const reason = Number(fact.record.fields['reason_id'])
  return flushReasonText(reason, 'linux-6.x').startsWith('local')
}

export function pagesText(pages: string): string {
  return pages === '-1' ? 'everything' : pages === '1' ? '1 page' : `${pages} pages`
}

function numbered(drafts: readonly Draft[]): Operation[] {
  const counts = new Map<string, number>()
  return drafts.map(({ name, begin, facts, around, isCut }) => {
    const round = counts.get(name) ?? 0
    counts.set(name, round + 1)
    return {
      name, round, pid: begin.pid, facts, around, isCut,
      firstLine: begin.record.line, lastLine: facts.at(-1)?.record.line ?? begin.record.line,
    }
  })
}
