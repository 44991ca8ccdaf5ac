// Colours and shapes that stay apart for colour-blind readers and in grey print: the palette of Okabe and
// Ito (2008) in the order of use, each with a dash pattern and a marker of its own.

export interface Look {
  colour: string
  /** SVG stroke-dasharray; empty for a solid line. */
  dash: string
  marker: MarkerShape
}

export const MARKER_SHAPES = ['circle', 'square', 'triangle', 'diamond', 'cross', 'down'] as const
export type MarkerShape = (typeof MARKER_SHAPES)[number]

const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000', '#8a7f00'] as const
const DASHES = ['', '8 4', '2 3', '10 3 2 3', '5 2'] as const

export const INK = '#222222'
export const FAINT_INK = '#5c5c5c'
export const GRID = '#e2e2e2'
export const PAPER = '#ffffff'

/** The look of the n-th thing in a plot, from 0. No two of the first forty are alike. */
export function lookOf(index: number): Look {
  return {
    colour: COLOURS[index % COLOURS.length]!,
    dash: DASHES[index % DASHES.length]!,
    marker: MARKER_SHAPES[index % MARKER_SHAPES.length]!,
  }
}
