// Making elements, and the few formats that all parts of the page share.

/** `<tag class=...>` with text or elements inside. */
export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag, className = '', ...inside: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag)
  if (className !== '') made.className = className
  made.append(...inside)
  return made
}

/** An SVG element with attributes. */
export function svg(tag: string, attributes: Readonly<Record<string, string | number>>, ...inside: Node[]): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value))
  made.append(...inside)
  return made
}

/** The element with this id, which the skeleton of the page has. */
export function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no element ${id}`)
  return found as Kind
}

/** 12,000,000. */
export function grouped(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** Microseconds or milliseconds, as many digits as make sense. */
export function microseconds(cycles: number, frequencyGhz: number): string {
  const value = cycles / (frequencyGhz * 1000)
  if (value >= 1000) return `${(value / 1000).toFixed(2)} ms`
  return `${value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : value.toFixed(3)} µs`
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? '0 %' : `${((part / whole) * 100).toFixed(part / whole < 0.1 ? 2 : 1)} %`
}
