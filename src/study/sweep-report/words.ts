// What the curves say, in sentences: which line is the lowest, where one crosses another, and where a line has its
// lowest point. What holds in several panels is said once.

import { valueText } from '../plot/scale.js'
import { groupValue } from './metrics.js'
import { allPanels, KERNEL_VALUES, restText, seriesName, type Line, type StudyView } from './view.js'

/** Differences below this share are none. */
export const EQUAL_SHARE = 0.002
const SENTENCES_MOST = 30
/** A ranking with more parts than this says nothing. */
const PARTS_MOST = 4
/** What no system is: it is lowest everywhere, and left out where lines are compared. */
const LOWER_BOUND = 'hardware-coherent'

interface Finding {
  /** `#` stands for the percentages. */
  text: string
  percent?: readonly [low: number, high: number]
}

/** In which panel it holds. */
interface Placed {
  finding: Finding
  fixed: string
}

/** Sentences about `metric` along `axis`. */
export function sentences(view: StudyView, axis: string, metric: string): string[] {
  const panels = allPanels(view, axis)
  const found = panels.flatMap(({ fixed, lines }) => {
    const curves = lines.map((line) => curveOf(line, metric))
    const best = curves.flatMap((curve) => lowest(curve, axis))
    // Machines are not chosen between by their curves.
    if (view.series === 'machine') return best.map((finding): Placed => ({ finding, fixed }))
    const real = curves.filter(({ name }) => name !== LOWER_BOUND)
    const all = [...ranking(real, axis, real.length < curves.length), ...crossings(real, axis), ...best]
    return all.map((finding): Placed => ({ finding, fixed }))
  })
  const all = merged(found, panels.length)
  return all.length <= SENTENCES_MOST ? all
    : [...all.slice(0, SENTENCES_MOST), `and ${all.length - SENTENCES_MOST} more, which the tables hold`]
}

/** The same where there are bars instead of curves. */
export function barSentences(view: StudyView, metric: string): string[] {
  const places = new Map<string, Curve[]>()
  for (const group of view.groups) {
    const place = restText(view, group)
    const { mean, low, high } = groupValue(group, metric)
    const curve = { name: seriesName(view, group), points: [{ x: 0, y: mean, low, high }] }
    places.set(place, [...places.get(place) ?? [], curve])
  }
  const found = [...places].flatMap(([fixed, curves]) => {
    const real = curves.filter(({ name }) => name !== LOWER_BOUND)
    return ranking(real, '', real.length < curves.length).map((finding): Placed => ({ finding, fixed }))
  })
  return merged(found, places.size)
}

/** `text (pages=1, 8).`, with the percentages of all these places. */
function merged(found: readonly Placed[], panels: number): string[] {
  const places = new Map<string, { where: string[]; low: number; high: number }>()
  for (const { finding: { text, percent: [low, high] = [0, 0] }, fixed } of found) {
    const before = places.get(text)
    places.set(text, {
      where: [...before?.where ?? [], fixed], low: Math.min(low, before?.low ?? low),
      high: Math.max(high, before?.high ?? high),
    })
  }
  return [...places].map(([text, { where, low, high }]) => {
    const range = low === high || text.includes('up to #') ? valueText(high) : `${valueText(low)} to ${valueText(high)}`
    const said = text.replace('#', range)
    if (panels === 1) return `${said}.`
    return where.length === panels ? `${said} (in all ${panels} panels).` : `${said} (${placesText(where)}).`
  })
}

/** `pages=1, 8` for `pages=1` and `pages=8`; other lists are joined by semicolons. */
function placesText(where: readonly string[]): string {
  const fields = new Set(where.map((text) => /^([^=,]+)=[^,]*$/.exec(text)?.[1]))
  const [field] = fields
  if (fields.size !== 1 || field === undefined) return where.join('; ')
  return `${field}=${where.map((text) => text.slice(field.length + 1)).join(', ')}`
}

interface CurvePoint {
  x: number
  y: number
  /** Ends of the interval over seeds; both are `y` without seeds. */
  low: number
  high: number
}

interface Curve {
  name: string
  points: readonly CurvePoint[]
}

function curveOf({ name, points }: Line, metric: string): Curve {
  return {
    name, points: points.map(({ x, group }) => {
      const { mean, low, high } = groupValue(group, metric)
      return { x, y: mean, low, high }
    }),
  }
}

/** By how much `a` is above `b`, as a share of the larger; 0 when their intervals overlap or hardly anything is. */
function shareAbove(a: CurvePoint, b: CurvePoint): number {
  const share = (a.y - b.y) / Math.max(a.y, b.y, 1e-12)
  const isApart = a.low > b.high || b.low > a.high
  return isApart && Math.abs(share) > EQUAL_SHARE ? share : 0
}

/** Points of `b` beside those of `a`. */
function paired(a: Curve, b: Curve): { a: CurvePoint; b: CurvePoint }[] {
  return a.points.flatMap((point) => {
    const other = b.points.find(({ x }) => x === point.x)
    return other === undefined ? [] : [{ a: point, b: other }]
  })
}

/** Which of three or more lines is the lowest, and how far above it the highest comes. */
function ranking(curves: readonly Curve[], axis: string, isBounded: boolean): Finding[] {
  const [first] = curves
  if (first === undefined || curves.length < (axis === '' ? 2 : 3)) return []
  const parts: { who: string; from: number; to: number }[] = []
  for (const { x } of first.points) {
    const here = curves.flatMap(({ name, points }) => points.filter((point) => point.x === x)
      .map((point) => ({ name, point })))
    if (here.length < curves.length) continue
    const least = here.reduce((a, b) => b.point.y < a.point.y ? b : a)
    const alike = here.filter(({ point }) => shareAbove(point, least.point) === 0).map(({ name }) => name)
    const who = alike.length === here.length ? '' : alike.join(' and ')
    const last = parts.at(-1)
    if (last?.who === who) last.to = x
    else parts.push({ who, from: x, to: x })
  }
  const [part] = parts
  if (part === undefined || parts.length > PARTS_MOST) return []
  const bound = isBounded ? ` (but for ${LOWER_BOUND}, the bound)` : ''
  if (parts.length === 1) return part.who === '' ? [{ text: 'all are equal' }] : alone(curves, part.who, axis, bound)
  return [{
    text: parts.map(({ who, from, to }, i) => {
      const range = i === 0 ? `up to ${axis}=${to}` : i === parts.length - 1 ? `from ${axis}=${from} on`
        : from === to ? `at ${axis}=${from}` : `from ${axis}=${from} to ${to}`
      return who === '' ? `all are equal ${range}` : `${who} lowest ${range}`
    }).join(', ') + bound,
  }]
}

/** `latr is lowest everywhere; linux-4.6 is up to 12.6 % above it` */
function alone(curves: readonly Curve[], who: string, axis: string, bound: string): Finding[] {
  const text = `${who} ${who.includes(' and ') ? 'are' : 'is'} lowest${axis === '' ? '' : ' everywhere'}${bound}`
  const lowestCurve = curves.find(({ name }) => name === who)
  if (lowestCurve === undefined) return [{ text }]
  const far = curves.flatMap((curve) => paired(curve, lowestCurve).map(({ a, b }) => (
    { name: curve.name, percent: 100 * (a.y / b.y - 1) }))).reduce((a, b) => b.percent > a.percent ? b : a)
  if (!Number.isFinite(far.percent)) return [{ text }]
  const upTo = axis === '' ? '' : 'up to '
  return [{ text: `${text}; ${far.name} is ${upTo}# % above it`, percent: [far.percent, far.percent] }]
}

/** Where each pair of lines crosses, or which is always below. */
function crossings(curves: readonly Curve[], axis: string): Finding[] {
  return curves.flatMap((a, i) => curves.slice(i + 1).flatMap((b) => crossing(a, b, axis, curves.length)))
}

function crossing(a: Curve, b: Curve, axis: string, lines: number): Finding[] {
  const common = paired(a, b).map((points) => (
    { x: points.a.x, difference: points.a.y - points.b.y, share: shareAbove(points.a, points.b) }))
  const clear = common.filter(({ share }) => share !== 0)
  const changes = clear.slice(1).flatMap((point, i) => {
    const before = clear[i]!
    if (Math.sign(point.difference) === Math.sign(before.difference)) return []
    const share = before.difference / (before.difference - point.difference)
    return [{ near: before.x + share * (point.x - before.x), from: before.x, to: point.x, lower: point.difference < 0 }]
  })
  if (changes.length === 0) return apart(a, b, common, lines, axis)
  const isWhole = common.every(({ x }) => Number.isInteger(x))
  return changes.map(({ near, from, to, lower }) => {
    const [below, above] = lower ? [a.name, b.name] : [b.name, a.name]
    return {
      text: `${below} is below ${above} from about ${axis}=${valueText(isWhole ? Math.ceil(near) : near)} on `
        + `(between ${from} and ${to})`,
    }
  })
}

interface Difference {
  x: number
  difference: number
  share: number
}

/** Lines that never cross may part somewhere; of two lines alone it is said which is lower, and by how much. */
function apart(a: Curve, b: Curve, common: readonly Difference[], lines: number, axis: string): Finding[] {
  const clear = common.filter(({ share }) => share !== 0)
  const first = common.findIndex(({ share }) => share !== 0)
  if (first < 0) return lines === 2 ? [{ text: `${a.name} and ${b.name} are equal` }] : []
  const [below, above] = common[first]!.difference < 0 ? [a.name, b.name] : [b.name, a.name]
  if (first > 0 && clear.length === common.length - first) {
    return [{
      text: `${below} is below ${above} from ${axis}=${common[first]!.x} on, and equal up to `
        + `${axis}=${common[first - 1]!.x}`,
    }]
  }
  if (lines !== 2) return []
  const shares = clear.map(({ share }) => Math.abs(share) * 100)
  const where = clear.length === common.length ? 'everywhere' : `at ${axis}=${clear.map(({ x }) => x).join(', ')}`
  const rest = clear.length === common.length ? '' : ', and equal elsewhere'
  return [{
    text: `${below} is below ${above} ${where}, by # %${rest}`, percent: [Math.min(...shares), Math.max(...shares)],
  }]
}

/** The best value along the axis, where it is not simply one end of a line that only rises or falls a little. */
function lowest({ name, points }: Curve, axis: string): Finding[] {
  if (points.length < 3) return []
  const best = points.reduce((a, b) => b.y < a.y ? b : a)
  const kernel = KERNEL_VALUES[axis]
  const isInside = shareAbove(points[0]!, best) !== 0 && shareAbove(points.at(-1)!, best) !== 0
  if (!isInside && kernel === undefined) return []
  const who = name === '' ? '' : `${name} `
  const worst = points.reduce((a, b) => b.y > a.y ? b : a)
  if (shareAbove(worst, best) === 0) return [{ text: `${who}does not depend on ${axis}` }]
  const alike = points.filter((point) => shareAbove(point, best) === 0).map(({ x }) => x)
  const where = alike.length === 1 ? `${best.x}` : `${alike[0]} to ${alike.at(-1)}`
  return [{ text: `${who}has its lowest point at ${axis}=${where}`, ...againstKernel(points, best, where, who, axis) }]
}

function againstKernel(
  points: Curve['points'], best: CurvePoint, where: string, who: string, axis: string,
): Partial<Finding> {
  const kernel = KERNEL_VALUES[axis]
  const there = points.find(({ x }) => x === kernel)
  if (there === undefined) return {}
  const text = `${who}has its lowest point at ${axis}=${where}; the kernel's ${kernel}`
  if (shareAbove(there, best) === 0) return { text: `${text} is as good` }
  const more = (there.y / best.y - 1) * 100
  return { text: `${text} costs # % more`, percent: [more, more] }
}
