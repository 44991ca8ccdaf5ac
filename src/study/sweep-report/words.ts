// What the curves say, in sentences: where one line crosses another, and where a line has its lowest point.

import { valueText } from '../plot/scale.js'
import { groupValue, metricTitle } from './metrics.js'
import { panelsOf, type Line, type Panel, type StudyView } from './view.js'

/** Differences below this share are none. */
const EQUAL_SHARE = 0.002
const SENTENCES_MOST = 40
/** The kernel's value, which a best one is compared with. */
const KERNEL_VALUES: Readonly<Record<string, number>> = { ceiling: 33 }

/** Sentences about `metric` along `axis`. */
export function sentences(view: StudyView, axis: string, metric: string): string[] {
  const { panels } = panelsOf(view, axis)
  const all = panels.flatMap((panel) => {
    const best = lowest(panel, axis, metric)
    // Machines are not chosen between by their curves.
    return view.series === 'machine' ? best : best.concat(crossings(panel, axis, metric))
  })
  return all.length <= SENTENCES_MOST ? all
    : [...all.slice(0, SENTENCES_MOST), `and ${all.length - SENTENCES_MOST} more, which the tables hold`]
}

interface Curve {
  name: string
  points: readonly { x: number; y: number }[]
}

function curveOf({ name, points }: Line, metric: string): Curve {
  return { name, points: points.map(({ x, group }) => ({ x, y: groupValue(group, metric).mean })) }
}

/** Where each pair of lines crosses, or which is always below. */
function crossings(panel: Panel, axis: string, metric: string): string[] {
  const curves = panel.lines.map((line) => curveOf(line, metric))
  const found: string[] = []
  for (const [i, a] of curves.entries()) {
    for (const b of curves.slice(i + 1)) found.push(...crossing(a, b, axis, metric, panel))
  }
  return found
}

function crossing(a: Curve, b: Curve, axis: string, metric: string, { fixed, lines }: Panel): string[] {
  const common = a.points.flatMap(({ x, y }) => {
    const other = b.points.find((point) => point.x === x)
    const share = (y - (other?.y ?? 0)) / Math.max(y, other?.y ?? 0, 1e-12)
    return other === undefined ? [] : [{ x, difference: y - other.y, share }]
  })
  const clear = common.filter(({ share }) => Math.abs(share) > EQUAL_SHARE)
  const changes = clear.slice(1).flatMap((point, i) => {
    const before = clear[i]!
    if (Math.sign(point.difference) === Math.sign(before.difference)) return []
    const share = before.difference / (before.difference - point.difference)
    return [{ near: before.x + share * (point.x - before.x), from: before.x, to: point.x, lower: point.difference < 0 }]
  })
  if (changes.length === 0) return apart(a, b, common, lines.length, `${metricTitle(metric)}: `, axis, fixed)
  return changes.map(({ near, from, to, lower }) => {
    const [below, above] = lower ? [a.name, b.name] : [b.name, a.name]
    return `${metricTitle(metric)}: ${below} is below ${above} from about ${axis}=${valueText(near)} on `
      + `(between ${from} and ${to})${inPanel(fixed)}.`
  })
}

interface Difference {
  x: number
  difference: number
  share: number
}

/** Lines that never cross may part somewhere; of two lines alone it is said which is lower, and by how much. */
function apart(
  a: Curve, b: Curve, common: readonly Difference[], lines: number, what: string, axis: string, fixed: string,
): string[] {
  const first = common.findIndex(({ share }) => Math.abs(share) > EQUAL_SHARE)
  if (first < 0) return lines === 2 ? [`${what}${a.name} and ${b.name} are equal${inPanel(fixed)}.`] : []
  const [below, above] = common[first]!.difference < 0 ? [a.name, b.name] : [b.name, a.name]
  if (first > 0) {
    return [`${what}${below} is below ${above} from ${axis}=${common[first]!.x} on, and equal up to `
      + `${axis}=${common[first - 1]!.x}${inPanel(fixed)}.`]
  }
  if (lines !== 2) return []
  const shares = common.map(({ share }) => Math.abs(share) * 100)
  return [`${what}${below} is below ${above} everywhere, by ${valueText(Math.min(...shares))} to `
    + `${valueText(Math.max(...shares))} %${inPanel(fixed)}.`]
}

/** The best value along the axis, where it is not simply one end of a line that only rises or falls a little. */
function lowest(panel: Panel, axis: string, metric: string): string[] {
  return panel.lines.flatMap((line): string[] => {
    const { name, points } = curveOf(line, metric)
    if (points.length < 3) return []
    const best = points.reduce((a, b) => b.y < a.y ? b : a)
    const kernel = KERNEL_VALUES[axis]
    const isInside = best !== points[0] && best !== points.at(-1)
    if (!isInside && kernel === undefined) return []
    const worst = points.reduce((a, b) => b.y > a.y ? b : a)
    const who = name === '' ? '' : ` of ${name}`
    const flat = worst.y - best.y <= EQUAL_SHARE * worst.y
    if (flat) return [`${metricTitle(metric)}${who} does not depend on ${axis}${inPanel(panel.fixed)}.`]
    const alike = points.filter(({ y }) => y <= best.y * (1 + EQUAL_SHARE)).map(({ x }) => x)
    const where = alike.length === 1 ? `${best.x}` : `${alike[0]} to ${alike.at(-1)}`
    return [`${metricTitle(metric)}${who} is lowest at ${axis}=${where}${inPanel(panel.fixed)}`
      + `${againstKernel(points, best.y, kernel)}.`]
  })
}

function againstKernel(points: Curve['points'], best: number, kernel: number | undefined): string {
  const there = points.find(({ x }) => x === kernel)
  if (there === undefined) return ''
  const more = (there.y / best - 1) * 100
  return more <= EQUAL_SHARE * 100 ? `; the kernel's ${kernel} is as good` : `; the kernel's ${kernel} costs `
    + `${valueText(more)} % more`
}

function inPanel(fixed: string): string {
  return fixed === '' ? '' : ` (${fixed})`
}
