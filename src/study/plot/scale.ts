// From values to pixels, and where the axis is labelled: round numbers on linear scales, powers on logarithmic
// ones. Values that a logarithmic scale has no place for are the caller's mistake.

import { assert } from '../../base/assert.js'

export type ScaleKind = 'linear' | 'log2' | 'log10'

export interface Axis {
  /** What is shown, with its unit in brackets: `latency (us)`. */
  label: string
  scale?: ScaleKind
  /** Ends of the axis. Default: those of the data, on linear scales from 0. */
  min?: number
  max?: number
  /** Values to label, instead of round ones. */
  ticks?: readonly number[]
}

export interface Scale {
  readonly min: number
  readonly max: number
  readonly ticks: readonly number[]
  /** Pixel of a value. */
  at(value: number): number
}

/** Labels that fit on an axis. */
const TICKS_WANTED = 6
const MOST_LOG_TICKS = 12
const FEW_DECADES = 2.5

/** A scale over `values` and what the axis asks for, onto [from, to] pixels. */
export function scaleFor(axis: Axis, values: readonly number[], from: number, to: number): Scale {
  const kind = axis.scale ?? 'linear'
  const known = [...values, ...(axis.ticks ?? [])].filter(value => Number.isFinite(value))
  const least = known.reduce((a, b) => Math.min(a, b), Infinity)
  const most = known.reduce((a, b) => Math.max(a, b), -Infinity)
  if (kind === 'linear') return linearScale(axis, least, most, from, to)
  return logScale(axis, kind === 'log2' ? 2 : 10, least, most, from, to)
}

function linearScale(axis: Axis, least: number, most: number, from: number, to: number): Scale {
  const low = axis.min ?? Math.min(0, Number.isFinite(least) ? least : 0)
  const high = axis.max ?? (Number.isFinite(most) && most > low ? most : low + 1)
  const step = roundStep((high - low) / TICKS_WANTED)
  const max = axis.max ?? Math.ceil(high / step - 1e-9) * step
  const min = axis.min ?? Math.floor(low / step + 1e-9) * step
  const ticks: number[] = []
  for (let n = Math.ceil(min / step - 1e-9); n * step <= max * (1 + 1e-12) + 1e-12; n++) ticks.push(n * step + 0)
  return {
    min, max, ticks: axis.ticks ?? ticks, at: value => from + (value - min) / (max - min) * (to - from),
  }
}

function logScale(axis: Axis, base: number, least: number, most: number, from: number, to: number): Scale {
  const min = axis.min ?? (Number.isFinite(least) ? least : 1)
  const max = Math.max(axis.max ?? (Number.isFinite(most) ? most : base), min * 1.0001)
  assert(min > 0, `a logarithmic axis "${axis.label}" cannot show ${min}`)
  const exponent = (value: number): number => Math.log(value) / Math.log(base)
  const low = exponent(min)
  const high = exponent(max)
  const ticks: number[] = []
  const stride = Math.max(1, Math.ceil((high - low) / MOST_LOG_TICKS))
  // One or two powers of ten leave most of an axis without a label.
  const within = base === 10 && high - low < FEW_DECADES ? [1, 2, 5] : [1]
  for (let n = Math.floor(low); n <= high + 1e-9; n += stride) {
    ticks.push(...within.map((factor) => factor * base ** n).filter((tick) => tick >= min * (1 - 1e-9)
      && tick <= max * (1 + 1e-9)))
  }
  const shown = ticks.length >= 2 ? ticks : [min, max]
  const at = (value: number): number => from + (exponent(value) - low) / (high - low) * (to - from)
  return { min, max, ticks: axis.ticks ?? shown, at }
}

/** 1, 2 or 5 times a power of ten, at least `step`. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step))
  const unit = step / power
  const factor = unit <= 1.0000001 ? 1 : unit <= 2.0000001 ? 2 : unit <= 5.0000001 ? 5 : 10
  return factor * power
}

/** A value for an axis or a table: at most four digits that matter, thousands grouped. */
export function valueText(value: number): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e6) return `${trimmed(value / 1e6, 2)}M`
  if (size >= 1000) return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ',')
  if (size >= 100) return trimmed(value, 1)
  if (size >= 1) return trimmed(value, 2)
  return Number(value.toPrecision(3)).toString()
}

function trimmed(value: number, decimals: number): string {
  return value.toFixed(decimals).replace(/\.?0+$/, '')
}
