// The pictures of a report with the tables that hold their numbers: curves along every axis, where the time goes,
// distributions, interrupts.

import type { CounterName } from '../../kernel/counters.js'
import { INITIATOR_PHASES } from '../../trace/flush-phases.js'
import { mergeHistograms } from '../histogram.js'
import { barsSvg, type BarSeries } from '../plot/bars.js'
import { chartSvg, type Series } from '../plot/chart.js'
import type { TableColumn } from '../plot/page.js'
import { valueText, type Axis, type ScaleKind } from '../plot/scale.js'
import type { Interval } from '../statistics.js'
import type { Group } from '../sweep-summary.js'
import { groupValue, metricLabel, metricTitle } from './metrics.js'
import {
  axisName, chosenGroups, KERNEL_VALUES, panelsOf, restText, seriesName, type Line, type Panel, type StudyView,
} from './view.js'

export interface Figure {
  /** Also the name of its SVG file. */
  name: string
  /** Pictures of one section stand side by side. */
  section: string
  title: string
  /** What the picture cannot say itself. */
  note: string
  svg: string
  columns: readonly TableColumn[]
  rows: readonly (readonly string[])[]
}

/** The last value is so many times the first: too wide for a linear axis. */
const WIDE = 8
const CDF_POINTS = 400
/** Two of them stand side by side. */
const PANEL_WIDTH = 560
/** More points than this on a line are not marked. */
const MARKS_MOST = 40

/** `metric` along `axis`, a picture for each panel. */
export function curves(view: StudyView, axis: string, metric: string): Figure[] {
  const { panels, left } = panelsOf(view, axis)
  return panels.map((panel, number): Figure => {
    const title = `${metricTitle(metric)} against ${axisName(view, axis)}${at(panel.fixed)}`
    const { columns, rows } = curveTable(panel, axisName(view, axis), metric)
    const measure = measureOf(panel, axis, metric)
    const kernel = KERNEL_VALUES[axis]
    return {
      name: `${metric}-by-${axis}${panels.length > 1 ? `-${number + 1}` : ''}`.replaceAll(/[^\w.-]/g, '_'),
      section: `${metricTitle(metric)} against ${axisName(view, axis)}`, title,
      note: [
        view.hasSeeds ? 'Shaded: 95 % bootstrap intervals of the means over seeds.' : '',
        number === panels.length - 1 && left > 0 ? `${left} more combinations are in the data.` : '',
      ].filter((part) => part !== '').join(' '),
      svg: chartSvg({
        title, x: xAxis(panel, axisName(view, axis)), y: measure.axis,
        series: curveSeries(panel, measure, view.hasSeeds), ...(panels.length > 1 ? { width: PANEL_WIDTH } : {}),
        rules: kernel === undefined ? [] : [{ at: kernel, label: `kernel: ${kernel}` }],
      }),
      columns, rows,
    }
  })
}

/** What is drawn along y. */
interface Measure {
  axis: Axis
  label: string
  of: (group: Group, line: Line) => Interval
}

/** The metric; or, where the kernel has a value of its own along the axis, by how much it differs from there. */
function measureOf(panel: Panel, axis: string, metric: string): Measure {
  const kernel = KERNEL_VALUES[axis]
  const bases = new Map(panel.lines.map((line) => {
    const point = line.points.find(({ x }) => x === kernel)
    return [line, point === undefined ? 0 : groupValue(point.group, metric).mean]
  }))
  const label = metricLabel(metric)
  if (kernel === undefined || [...bases.values()].some((base) => base <= 0)) {
    return { axis: yAxis(panel, metric), label, of: (group) => groupValue(group, metric) }
  }
  const relative = `${metricTitle(metric)}, against the kernel's ${kernel} (%)`
  return {
    axis: { label: relative }, label: relative,
    of: (group, line) => {
      const { mean, low, high, count } = groupValue(group, metric)
      const percent = (value: number): number => 100 * (value / bases.get(line)! - 1)
      return { mean: percent(mean), low: percent(low), high: percent(high), count }
    },
  }
}

function curveSeries(panel: Panel, { of, label }: Measure, hasSeeds: boolean): Series[] {
  return panel.lines.flatMap((one, look): Series[] => {
    const values = one.points.map(({ x, group }) => ({ x, ...of(group, one) }))
    const line: Series = {
      kind: 'line', name: one.name === '' ? label : one.name, look, marks: values.length <= MARKS_MOST,
      points: values.map(({ x, mean }) => [x, mean]),
    }
    return hasSeeds ? [line, {
      kind: 'band', name: '', look, points: values.map(({ x, low, high }) => [x, low, high]),
    }] : [line]
  })
}

function curveTable(panel: Panel, title: string, metric: string): Pick<Figure, 'columns' | 'rows'> {
  const xs = [...new Set(panel.lines.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b)
  return {
    columns: [title, ...panel.lines.map(({ name }) => name === '' ? metricLabel(metric) : name)]
      .map((column) => ({ title: column, isNumber: true })),
    rows: xs.map((x) => [String(x)].concat(panel.lines.map(({ points }) => {
      const point = points.find((one) => one.x === x)
      return point === undefined ? '-' : intervalText(groupValue(point.group, metric))
    }))),
  }
}

function intervalText({ mean, low, high }: Interval): string {
  return low === high ? valueText(mean) : `${valueText(mean)} [${valueText(low)} to ${valueText(high)}]`
}

/** Labels of an axis that are values of the study rather than powers. */
const VALUES_LABELLED = 12

/** Values that grow by factors are spread evenly on a logarithmic axis, and labelled themselves if they are few. */
function xAxis({ lines }: Panel, label: string): Axis {
  const xs = [...new Set(lines.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b)
  const [least, most] = [xs[0] ?? 0, xs.at(-1) ?? 0]
  const steps = xs.slice(1).map((x, i) => x - xs[i]!)
  const isEven = steps.every((step) => Math.abs(step - steps[0]!) <= 1e-9 * most)
  if (xs.length < 3 || least <= 0 || isEven || most / least < WIDE) return { label, scale: 'linear' }
  return { label, scale: 'log2', ...(xs.length <= VALUES_LABELLED ? { ticks: xs } : {}) }
}

function yAxis({ lines }: Panel, metric: string): { label: string; scale: ScaleKind } {
  const values = lines.flatMap(({ points }) => points.map(({ group }) => groupValue(group, metric).mean))
  const least = Math.min(...values)
  return { label: metricLabel(metric), scale: least > 0 && Math.max(...values) / least > 50 ? 'log10' : 'linear' }
}

const PHASE_NAMES: Readonly<Record<(typeof INITIATOR_PHASES)[number], string>> = {
  entry: 'entry, areas, locks', tables: 'page tables', setup: 'set-up', send: 'IPI send', local: 'local flush',
  wait: 'wait', free: 'free',
}

/** `metric` where nothing is varied that an axis could show. */
export function metricBars(view: StudyView, metric: string): Figure {
  const names = [...new Set(view.groups.map((group) => seriesName(view, group)))]
  const categories = [...new Set(view.groups.map((group) => restText(view, group)))]
  const values = names.map((name) => categories.map((category) => view.groups.find((group) => (
    seriesName(view, group) === name && restText(view, group) === category))))
  const isOne = categories.length === 1
  const title = metricTitle(metric)
  const unit = metricLabel(metric)
  const mean = (group: Group | undefined): number | undefined => group && groupValue(group, metric).mean
  return {
    name: metric, section: title, title, note: '',
    svg: barsSvg(isOne ? {
      title, y: { label: unit }, categories: names, series: [{ name: unit, values: values.map(([one]) => mean(one)) }],
    } : {
      title, y: { label: unit }, categories,
      series: names.map((name, i) => ({ name, values: values[i]!.map(mean) })),
    }),
    columns: [{ title: '' }, ...names.map((name) => ({ title: name, isNumber: true }))],
    rows: categories.map((category, i) => [category === '' ? unit : category].concat(values.map((row) => {
      const group = row[i]
      return group === undefined ? '-' : intervalText(groupValue(group, metric))
    }))),
  }
}

/** Where the time of initiators goes, per flush. */
export function initiatorBars(view: StudyView): Figure {
  const { fixed, groups } = chosenGroups(view)
  return stackedBars('initiator', `Where a flush spends its initiator's time${at(fixed)}`,
    'Per flush request; entry, page tables and free are those of the system call that it belongs to.', groups,
    INITIATOR_PHASES.map((phase) => ({
      name: PHASE_NAMES[phase], value: (group) => perFlush(group, `${phase}Cycles`),
    })))
}

/** What a flush takes from the others, per flush. */
export function responderBars(view: StudyView): Figure {
  const { fixed, groups } = chosenGroups(view)
  const bound = lowerBound(view, groups)
  const parts: Part[] = [
    { name: 'interrupt entry and exit', value: (group) => perFlush(group, 'irqCycles') },
    { name: 'handler and flush', value: (group) => perFlush(group, 'handlerCycles') },
  ]
  if (bound !== undefined) {
    parts.push({ name: 'refill', value: (group) => Math.max(0, perFlush(group, 'walkCycles')
      - perFlush(bound, 'walkCycles')) })
  }
  return stackedBars('responders', `What a flush takes from other CPUs${at(fixed)}`, bound === undefined
    ? 'Per flush request, summed over CPUs. The refill of TLBs is not shown: it is the page walks beyond those of '
      + 'hardware-coherent, which is not among the policies.'
    : 'Per flush request, summed over CPUs. Refill: page walks of all CPUs beyond those of hardware-coherent.',
  groups, parts)
}

/** The run of the same point under the policy that takes no translation away needlessly. */
function lowerBound(
  view: StudyView, groups: readonly { name: string; group: Group }[],
): Group | undefined {
  return view.series === 'policy' ? groups.find(({ name }) => name === 'hardware-coherent')?.group : undefined
}

/** Interrupts that were sent, that were saved, and that found nothing to do. */
export function ipiBars(view: StudyView): Figure {
  const { fixed, groups } = chosenGroups(view)
  const count = (...names: CounterName[]) => (group: Group): number =>
    names.reduce((sum, name) => sum + groupValue(group, name).mean, 0)
  const parts: Part[] = [
    { name: 'sent for flushes', value: count('callFunctionIpis') },
    { name: 'avoided (CPU left out)', value: (group) => groupValue(group, 'ipisAvoided').mean },
    { name: 'useless (nothing to flush)', value: count('uselessFlushes', 'wrongCpu') },
  ]
  const title = `Interrupts${at(fixed)}`
  return {
    name: 'interrupts', section: title, title,
    note: 'Over the whole run. Useless: the CPU had flushed already, or had left the '
      + 'address space.',
    svg: barsSvg({
      title, y: { label: 'interrupts' }, categories: groups.map(({ name }) => name), series: barSeries(groups, parts),
    }),
    ...barTable(groups, parts),
  }
}

/** The share of flushes that take at most so long. */
export function latencyCdf(view: StudyView): Figure {
  const { fixed, groups } = chosenGroups(view)
  const title = `How long flushes take${at(fixed)}`
  const shares = [0.1, 0.5, 0.9, 0.99, 1]
  const all = groups.map(({ name, group }) => ({ name, steps: cdfOf(group) })).filter(({ steps }) => steps.length > 0)
  return {
    name: 'latency-cdf', section: title, title,
    note: 'All flush requests of the runs; latencies are exact within 1/32.',
    svg: chartSvg({
      title, x: { label: 'latency of a flush (us)' }, y: { label: 'share of flushes', min: 0, max: 1 },
      series: all.map(({ name, steps }, look): Series => ({
        kind: 'line', name, look, marks: false, points: steps.flatMap(({ us, share }, i) => [
          [us, steps[i - 1]?.share ?? 0] as const, [us, share] as const,
        ]),
      })),
    }),
    columns: [{ title: '' }, ...shares.map((share) => ({ title: `${share * 100} % (us)`, isNumber: true }))],
    rows: all.map(({ name, steps }) => [name].concat(shares.map((share) =>
      valueText(steps.find((step) => step.share >= share - 1e-9)!.us)))),
  }
}

function cdfOf({ rows }: Group): { us: number; share: number }[] {
  const merged = mergeHistograms(rows.map(({ latencies }) => latencies))
  const total = merged.reduce((sum, [, count]) => sum + count, 0)
  const cyclesPerUs = rows[0]!.result['frequencyGhz']! * 1000
  let below = 0
  const steps = merged.map(([edge, count]) => ({ us: edge / cyclesPerUs, share: (below += count) / total }))
  const stride = Math.ceil(steps.length / CDF_POINTS)
  return steps.filter((_, i) => i % stride === 0 || i === steps.length - 1)
}

interface Part {
  name: string
  value: (group: Group) => number
}

function stackedBars(
  name: string, title: string, note: string, groups: readonly { name: string; group: Group }[], parts: readonly Part[],
): Figure {
  return {
    name, section: title, title, note,
    svg: barsSvg({
      title, y: { label: 'time (us)' }, stacked: true, categories: groups.map((one) => one.name),
      series: barSeries(groups, parts),
    }),
    ...barTable(groups, parts, 'us'),
  }
}

function barSeries(groups: readonly { group: Group }[], parts: readonly Part[]): BarSeries[] {
  return parts.map(({ name, value }) => ({ name, values: groups.map(({ group }) => value(group)) }))
}

function barTable(
  groups: readonly { name: string; group: Group }[], parts: readonly Part[], unit = '',
): Pick<Figure, 'columns' | 'rows'> {
  return {
    columns: [{ title: '' }, ...parts.map(({ name }) => ({
      title: unit === '' ? name : `${name} (${unit})`, isNumber: true,
    }))],
    rows: groups.map(({ name, group }) => [name].concat(parts.map(({ value }) => valueText(value(group))))),
  }
}

function perFlush(group: Group, metric: string): number {
  return groupValue(group, metric).mean / Math.max(1, groupValue(group, 'flushes').mean)
}

function at(fixed: string): string {
  return fixed === '' ? '' : ` (${fixed})`
}
