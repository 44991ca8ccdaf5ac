// SVG as text. The same input gives the same bytes: coordinates have two decimals, attributes keep the order in
// which they are given, and nothing is numbered by a counter that outlives a picture.

import type { MarkerShape } from './palette.js'

export type Attributes = Readonly<Record<string, string | number | undefined>>

/** One element; `content` is text that is already escaped, or other elements. */
export function element(name: string, attributes: Attributes, content = ''): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? coordinate(value) : escapeText(value!)}"`)
    .join('')
  return content === '' ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`
}

/** Two decimals, without needless zeros; never -0. */
export function coordinate(value: number): string {
  const text = value.toFixed(2).replace(/\.?0+$/, '')
  return text === '-0' ? '0' : text
}

/** Text for SVG and HTML, in attributes and between tags. */
export function escapeText(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
}

/** Path through points, given in pixels. */
export function pathOf(points: readonly (readonly [x: number, y: number])[]): string {
  return points.map(([x, y], at) => `${at === 0 ? 'M' : 'L'}${coordinate(x)} ${coordinate(y)}`).join('')
}

/** A marker of `size` pixels around (x, y). Hollow ones are filled with `paper`, so that lines end at them. */
export function marker(
  shape: MarkerShape, x: number, y: number, size: number, colour: string, fill: string, title = '',
): string {
  const r = size / 2
  const style = { fill, stroke: colour, 'stroke-width': 1.6 }
  const tip = title === '' ? '' : element('title', {}, escapeText(title))
  switch (shape) {
    case 'circle':
      return element('circle', { cx: x, cy: y, r, ...style }, tip)
    case 'square':
      return element('rect', { x: x - r, y: y - r, width: size, height: size, ...style }, tip)
    case 'triangle':
      return element('path', { d: `${pathOf([[x, y - r], [x + r, y + r], [x - r, y + r]])}Z`, ...style }, tip)
    case 'down':
      return element('path', { d: `${pathOf([[x, y + r], [x + r, y - r], [x - r, y - r]])}Z`, ...style }, tip)
    case 'diamond':
      return element('path', { d: `${pathOf([[x, y - r], [x + r, y], [x, y + r], [x - r, y]])}Z`, ...style }, tip)
    case 'cross':
      return element('path', {
        d: pathOf([[x - r, y - r], [x + r, y + r]]) + pathOf([[x - r, y + r], [x + r, y - r]]), ...style, fill: 'none',
      }, tip)
  }
}
