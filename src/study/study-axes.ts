// What a study may vary, and how one value gets into the scenario. A field is named by
//
//   an anchor     `pages: &pages 8` in the scenario makes `pages` a field; aliases `*pages` follow
//   a short name  cpus, machine, policy, era, seed, ceiling, pcid, ... (SHORT_NAMES)
//   a path        kernel.timeSlice, machine.costs.ipiSend, processes.app.threads.main.program.0.mmap.pages;
//                 a step into a list is an index or the `name:` of an element
//
// The result is the text of an ordinary scenario file: what a point runs can be printed and run by itself.

import { isMap, isScalar, isSeq, parseDocument, visit } from 'yaml'
import type { Document, Node, YAMLMap } from 'yaml'
import { UserError } from '../base/errors.js'
import { suggestionLines } from '../scenario/suggest.js'

/** What a field can be set to. */
export type Scalar = number | string | boolean
/** The fields of one point, in the order of the study. */
export type Parameters = Readonly<Record<string, Scalar>>

/** Short names of fields and where they are. */
export const SHORT_NAMES: Readonly<Record<string, readonly string[]>> = {
  cpus: ['cpus'],
  seed: ['seed'],
  machine: ['machine', 'preset'],
  sockets: ['machine', 'sockets'],
  memory: ['machine', 'memory'],
  geometry: ['machine', 'geometry'],
  tlb: ['machine', 'tlb', 'preset'],
  apic: ['machine', 'apic'],
  smt: ['machine', 'smt'],
  policy: ['kernel', 'policy'],
  era: ['kernel', 'era'],
  ceiling: ['kernel', 'flushCeiling'],
  pcid: ['kernel', 'pcid'],
  pti: ['kernel', 'pti'],
  remoteFlush: ['kernel', 'remoteFlush'],
  mmCpumask: ['kernel', 'mmCpumask'],
  earlyAck: ['kernel', 'earlyAck'],
  timeSlice: ['kernel', 'timeSlice'],
  idle: ['kernel', 'idle'],
  thp: ['kernel', 'thp'],
}
/** `costs.ipiSend` is short for `machine.costs.ipiSend`. */
const COSTS = 'costs'
/** Keys whose short form is one word: what that word is in the long form. */
const WORD_KEYS: Readonly<Record<string, string>> = { machine: 'preset', kernel: 'era', tlb: 'preset' }
const TOP_LEVEL = ['name', 'machine', 'cpus', 'kernel', 'bugs', 'seed', 'files', 'processes', 'kernelThreads',
  'schedule', 'expect']

type ScenarioDocument = Document<Node>

/** The text of the scenario with these fields set. Throws a UserError without a position for a field that is none. */
export function applyParameters(scenarioText: string, parameters: Parameters): string {
  const document: ScenarioDocument = parseDocument(scenarioText, { version: '1.2', intAsBigInt: true })
  for (const [field, value] of Object.entries(parameters)) setField(document, field, value, parameters)
  return document.toString({ lineWidth: 0 })
}

function setField(document: ScenarioDocument, field: string, value: Scalar, parameters: Parameters): void {
  if (setAnchored(document, field, value)) return
  const path = pathOf(document, field)
  if (path[0] === 'kernel' && path[1] === 'policy' && path.length === 2 && !('era' in parameters)) {
    // A policy brings the era that it runs on.
    deleteIn(document, ['kernel'], ['kernel', 'era'])
  }
  if (path[0] === 'cpus') deleteIn(document, ['machine', 'cpus'])
  setIn(document, path, value, field)
}

/** Sets the value that has the anchor `name`; false when there is none. */
function setAnchored(document: ScenarioDocument, name: string, value: Scalar): boolean {
  let found = false
  visit(document, {
    Node(_, node) {
      if (!('anchor' in node) || node.anchor !== name) return
      if (!isScalar(node)) throw new UserError(`&${name} is on a list or a map; a study varies single values`)
      node.value = value
      delete node.format
      delete node.type
      found = true
    },
  })
  return found
}

function anchorNames(document: ScenarioDocument): string[] {
  const names: string[] = []
  visit(document, {
    Node(_, node) {
      if ('anchor' in node && node.anchor !== undefined) names.push(node.anchor)
    },
  })
  return names
}

function pathOf(document: ScenarioDocument, field: string): readonly string[] {
  const steps = field.split('.')
  const [first = '', ...rest] = steps
  if (rest.length === 0 && Object.hasOwn(SHORT_NAMES, first)) return SHORT_NAMES[first]!
  if (first === COSTS && rest.length === 1) return ['machine', ...steps]
  if (TOP_LEVEL.includes(first) && steps.every((step) => step !== '')) return steps
  const known = [...anchorNames(document), ...Object.keys(SHORT_NAMES), ...TOP_LEVEL]
  throw new UserError(`unknown field "${field}"`, undefined, [
    ...suggestionLines(rest.length === 0 ? field : first, [...new Set(known)], 60),
    'a field is a short name, a path such as kernel.timeSlice or machine.costs.ipiSend, or an anchor: '
    + 'with `pages: &pages 8` in the scenario, "pages" is one',
  ])
}

function setIn(document: ScenarioDocument, path: readonly string[], value: Scalar, field: string): void {
  if (!isMap(document.contents)) throw new UserError('the scenario is not a map')
  let node: Node = document.contents
  for (const [depth, step] of path.slice(0, -1).entries()) node = childOf(document, node, step, path[depth + 1]!, field)
  const last = path.at(-1)!
  if (isMap(node)) node.set(last, value)
  else if (isSeq(node)) node.set(indexIn(node.items as Node[], last, field), value)
  else throw new UserError(`"${field}" leads into a single value, which has no "${last}"`)
}

/** The node behind `step`; a missing map is made, and a word becomes the map that it is short for. */
function childOf(document: ScenarioDocument, node: Node, step: string, next: string, field: string): Node {
  if (isSeq(node)) {
    return node.items[indexIn(node.items as Node[], step, field)] as Node
  }
  if (!isMap(node)) throw new UserError(`"${field}" leads into a single value, which has no "${step}"`)
  const child = node.get(step, true) as Node | undefined
  if (child !== undefined && !isScalar(child)) return child
  const word = WORD_KEYS[step]
  if (child !== undefined && child.value !== null && word === undefined) {
    throw new UserError(`"${field}" leads into a single value: "${step}" has no "${next}"`)
  }
  const made = document.createNode({}) as YAMLMap
  if (child !== undefined && child.value !== null && word !== undefined) made.set(word, child.value)
  node.set(step, made)
  return made
}

function indexIn(items: readonly Node[], step: string, field: string): number {
  const names = items.map((item) => isMap(item) ? String(item.get('name') ?? '') : '')
  const index = /^\d+$/.test(step) ? Number(step) : names.indexOf(step)
  if (index >= 0 && index < items.length) return index
  throw new UserError(`"${field}": there is no element "${step}" in a list of ${items.length}`, undefined,
    suggestionLines(step, names.filter((name) => name !== ''), 24, `expected an index from 0 to ${items.length - 1}`))
}

/** Removes keys that exist. `kernel: linux-4.6` is removed as a word only. */
function deleteIn(document: ScenarioDocument, ...paths: readonly (readonly string[])[]): void {
  for (const path of paths) {
    if (!document.hasIn(path)) continue
    if (path.length > 1 || isScalar(document.getIn(path, true))) document.deleteIn(path)
  }
}
