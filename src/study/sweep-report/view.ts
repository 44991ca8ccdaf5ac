// How the points of a study become plots: which field is along an axis, which one is the lines, and what stays the
// same in one panel. Nothing here knows numbers of runs.

import type { Scalar } from '../study-axes.js'
import type { ResultRow } from '../sweep-point.js'
import { groupBySeed, type Group } from '../sweep-summary.js'

export interface StudyView {
  /** Varied fields, the seed left out. */
  fields: readonly string[]
  /** Values of a field; numbers ascending, others in the order of the study. */
  values: ReadonlyMap<string, readonly Scalar[]>
  /** Fields of numbers with several values, those with most first: each is the axis of a plot. */
  axes: readonly string[]
  /** The field of the lines; undefined when only one thing is varied. */
  series: string | undefined
  groups: readonly Group[]
  hasSeeds: boolean
  labels: Readonly<Record<string, string>>
}

/** One line of a plot: the groups along the axis. */
export interface Line {
  name: string
  points: readonly { x: number; group: Group }[]
}

/** One picture: what all its points have in common, in words, and its lines. */
export interface Panel {
  fixed: string
  lines: readonly Line[]
}

/** What lines are about, if it is varied; then any field that is not a number, and machines last of those. */
const SERIES_FIRST = ['policy', 'era']
const SERIES_LAST = 'machine'
/** Fields whose values need no name beside them. */
const NAMED_BY_VALUE = ['policy', 'era', 'machine']
/** The kernel's value of a field, which others are compared with. */
export const KERNEL_VALUES: Readonly<Record<string, number>> = { ceiling: 33 }
const PANELS_SHOWN = 6

export function viewOf(rows: readonly ResultRow[], labels: Readonly<Record<string, string>> = {}): StudyView {
  const groups = groupBySeed(rows)
  const all = [...new Set(groups.flatMap(({ parameters }) => Object.keys(parameters)))]
  const values = new Map(all.map((field) => [field, valuesOf(groups, field)]))
  const varied = all.filter((field) => values.get(field)!.length > 1)
  const fields = varied.filter((field, i) => !varied.slice(0, i).some((other) => follows(groups, other, field)))
  const numeric = fields.filter((field) => values.get(field)!.every((value) => typeof value === 'number'))
  const words = fields.filter((field) => !numeric.includes(field))
  const series = SERIES_FIRST.find((field) => words.includes(field))
    ?? words.find((field) => field !== SERIES_LAST) ?? words[0]
    ?? (numeric.length > 1 ? numeric.toSorted((a, b) => values.get(a)!.length - values.get(b)!.length)[0] : undefined)
  const sizeOf = (field: string): number => values.get(field)!.length
  return {
    fields, values, axes: numeric.filter((field) => field !== series).sort((a, b) => sizeOf(b) - sizeOf(a)), series,
    groups, hasSeeds: groups.some((group) => group.rows.length > 1), labels,
  }
}

/** The pictures with `axis` along the x axis, at most a few, spread over all there are. */
export function panelsOf(view: StudyView, axis: string): { panels: Panel[]; left: number } {
  const all = allPanels(view, axis)
  const shown = all.length <= PANELS_SHOWN ? all
    : Array.from({ length: PANELS_SHOWN }, (_, i) => all[Math.round(i * (all.length - 1) / (PANELS_SHOWN - 1))]!)
  return { panels: shown, left: all.length - shown.length }
}

/** Every picture there could be. */
export function allPanels(view: StudyView, axis: string): Panel[] {
  const panels = new Map<string, Map<string, { x: number; group: Group }[]>>()
  for (const group of view.groups) {
    const fixed = fixedText(view, group, [axis, view.series])
    const name = seriesName(view, group)
    const x = group.parameters[axis]
    if (typeof x !== 'number') continue
    const lines = panels.get(fixed) ?? new Map<string, { x: number; group: Group }[]>()
    panels.set(fixed, lines)
    lines.set(name, [...lines.get(name) ?? [], { x, group }])
  }
  return [...panels].map(([fixed, lines]): Panel => ({
    fixed, lines: [...lines].map(([name, points]) => ({ name, points: points.toSorted((a, b) => a.x - b.x) })),
  }))
}

/** One group for each line at one place: the kernel's value, the far end of the first axis, the middle of others. */
export function chosenGroups(view: StudyView): { fixed: string; groups: { name: string; group: Group }[] } {
  const wanted = new Map(view.fields.filter((field) => field !== view.series).map((field) => {
    const values = view.values.get(field)!
    const kernel = KERNEL_VALUES[field]
    if (kernel !== undefined && values.includes(kernel)) return [field, kernel]
    return [field, field === view.axes[0] ? values.at(-1)! : values[Math.floor((values.length - 1) / 2)]!]
  }))
  const groups = view.groups.filter(({ parameters }) => (
    [...wanted].every(([field, value]) => parameters[field] === value)))
  return {
    fixed: [...wanted].map(([field, value]) => `${field}=${value}`).join(', '),
    groups: groups.map((group) => ({ name: seriesName(view, group) || 'all', group })),
  }
}

/** What a group is called in a legend; empty when nothing tells lines apart. */
export function seriesName({ series }: StudyView, { parameters }: Group): string {
  if (series === undefined) return ''
  return NAMED_BY_VALUE.includes(series) ? String(parameters[series]) : `${series}=${parameters[series]}`
}

/** What an axis is called, with its unit. */
export function axisName({ labels }: StudyView, axis: string): string {
  if (labels[axis] !== undefined) return labels[axis]
  if (axis.startsWith('costs.')) return `${axis} (cycles)`
  return AXIS_NAMES[axis] ?? axis
}

const AXIS_NAMES: Readonly<Record<string, string>> = { cpus: 'CPUs', ceiling: 'flush ceiling (pages)' }

/** What a group has besides its line: the categories of bars. */
export function restText(view: StudyView, group: Group): string {
  return fixedText(view, group, [view.series])
}

/** Is `field` a function of `other`? A list of points may change two fields together; one of them is plotted. */
function follows(groups: readonly Group[], other: string, field: string): boolean {
  const known = new Map<Scalar | undefined, Scalar | undefined>()
  return groups.every(({ parameters }) => {
    if (!known.has(parameters[other])) known.set(parameters[other], parameters[field])
    return known.get(parameters[other]) === parameters[field]
  })
}

function fixedText(view: StudyView, { parameters }: Group, except: readonly (string | undefined)[]): string {
  return view.fields.filter((field) => !except.includes(field)).map((field) => `${field}=${parameters[field]}`)
    .join(', ')
}

function valuesOf(groups: readonly Group[], field: string): Scalar[] {
  const values = [...new Set(groups.flatMap(({ parameters }) => field in parameters ? [parameters[field]!] : []))]
  return values.every((value) => typeof value === 'number') ? values.toSorted((a, b) => a - b) : values
}
