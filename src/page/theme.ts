// Colours, light and dark. Those of kinds are from the palette of Okabe and Ito, those of address
// spaces from the muted one of Tol: both can be told apart with any of the common colour deficiencies, and
// on the timeline kinds differ in height as well. CSS gets them as variables, canvases from here.

import { MODE_AWAY, MODE_IDLE, MODE_INTERRUPT, MODE_KERNEL, MODE_USER, MODE_WAITING } from '../trace/observations.js'
import { KIND_LAZY } from './lanes.js'

export interface Theme {
  readonly name: 'light' | 'dark'
  /** By kind of stretch. */
  readonly kinds: readonly string[]
  /** Of text on bars. */
  readonly inks: readonly string[]
  readonly mms: readonly string[]
  readonly background: string
  readonly lane: string
  readonly text: string
  readonly dim: string
  readonly grid: string
  readonly arrow: string
  readonly reschedule: string
  readonly ack: string
  readonly fault: string
  readonly cursor: string
  readonly match: string
}

function kindColours(colours: Readonly<Record<number, string>>): string[] {
  return Object.keys(colours).map(Number).sort((a, b) => a - b).map((kind) => colours[kind])
}

const LIGHT: Theme = {
  name: 'light',
  kinds: kindColours({
    [MODE_USER]: '#0072b2', [MODE_KERNEL]: '#e69f00', [MODE_WAITING]: '#f5d68f', [MODE_INTERRUPT]: '#d55e00',
    [MODE_IDLE]: '#c9ced6', [MODE_AWAY]: '#6b7280', [KIND_LAZY]: '#cc79a7',
  }),
  inks: ['#ffffff', '#2b2100', '#2b2100', '#ffffff', '#1b2330', '#ffffff', '#1b2330'],
  mms: ['#332288', '#44aa99', '#999933', '#882255', '#88ccee', '#117733', '#ddcc77', '#cc6677', '#aa4499'],
  background: '#ffffff', lane: '#f4f6f9', text: '#1b2330', dim: '#667085', grid: '#e3e7ee',
  arrow: '#1b2330', reschedule: '#8a94a6', ack: '#007a5a', fault: '#b3261e', cursor: '#b3261e', match: '#7a5cff',
}

const DARK: Theme = {
  name: 'dark',
  kinds: kindColours({
    [MODE_USER]: '#3fa2e0', [MODE_KERNEL]: '#f0b429', [MODE_WAITING]: '#7d6526', [MODE_INTERRUPT]: '#f2773b',
    [MODE_IDLE]: '#3d4757', [MODE_AWAY]: '#8b95a5', [KIND_LAZY]: '#d58ab8',
  }),
  inks: ['#0b121a', '#1a1300', '#f6ead0', '#1c0a02', '#e8ecf2', '#12161d', '#e8ecf2'],
  mms: ['#8f83e8', '#5cc4b3', '#b9b94b', '#c9568f', '#88ccee', '#4fae6f', '#ddcc77', '#e0838f', '#c876c8'],
  background: '#12161d', lane: '#1a202a', text: '#e8ecf2', dim: '#98a2b3', grid: '#2a3240',
  arrow: '#f2f5f9', reschedule: '#8a94a6', ack: '#3ddba4', fault: '#ff7a70', cursor: '#ff7a70', match: '#b29dff',
}

let chosen: Theme = LIGHT

export function theme(): Theme {
  return chosen
}

/** Sets the theme; CSS follows the attribute of the root element. */
export function setTheme(name: Theme['name']): void {
  chosen = name === 'dark' ? DARK : LIGHT
  const root = document.documentElement
  root.dataset['theme'] = name
  chosen.kinds.forEach((colour, kind) => root.style.setProperty(`--kind-${kind}`, colour))
}

/** The colour of an address space; init_mm has none of its own. */
export function mmColour(ctxId: number): string {
  return ctxId <= 1 ? chosen.grid : chosen.mms[(ctxId - 2) % chosen.mms.length]
}

/** Height of each kind on the timeline, as a share of its lane. */
export const KIND_HEIGHTS: readonly number[] = kindHeights()

function kindHeights(): number[] {
  const heights: number[] = []
  heights[MODE_USER] = 1
  heights[MODE_KERNEL] = 0.78
  heights[MODE_WAITING] = 0.78
  heights[MODE_INTERRUPT] = 0.9
  heights[MODE_IDLE] = 0.1
  heights[MODE_AWAY] = 0.22
  heights[KIND_LAZY] = 0.34
  return heights
}
