// Pixels of a part of a canvas as words of memory. Tens of thousands of small rectangles are drawn in a
// millisecond or two this way; as calls of a canvas they take a hundred.

export class Pixels {
  readonly width: number
  readonly height: number
  readonly #image: ImageData
  readonly #words: Uint32Array

  /** Transparent at first. */
  constructor(width: number, height: number) {
    this.width = Math.max(1, width)
    this.height = Math.max(1, height)
    this.#image = new ImageData(this.width, this.height)
    this.#words = new Uint32Array(this.#image.data.buffer)
  }

  /** [x1, x2) by [y1, y2), cut to what is there; whole pixels. */
  fill(colour: number, x1: number, y1: number, x2: number, y2: number): void {
    const left = Math.max(0, x1)
    const right = Math.min(this.width, x2)
    const bottom = Math.min(this.height, y2)
    if (right <= left) return
    for (let y = Math.max(0, y1); y < bottom; y++) {
      this.#words.fill(colour, y * this.width + left, y * this.width + right)
    }
  }

  putTo(ctx: CanvasRenderingContext2D, x: number, y: number): void {
    ctx.putImageData(this.#image, x, y)
  }
}

const words = new Map<string, number>()

/** `#rrggbb` as a word of pixels, opaque. */
export function colourWord(colour: string): number {
  let word = words.get(colour)
  if (word === undefined) {
    const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
    word = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0
    words.set(colour, word)
  }
  return word
}

/** `share` of one colour over another. */
export function mixed(colour: string, ground: string, share: number): number {
  const channel = (at: number): number => Math.round(Number.parseInt(colour.slice(at, at + 2), 16) * share
    + Number.parseInt(ground.slice(at, at + 2), 16) * (1 - share))
  return ((255 << 24) | (channel(5) << 16) | (channel(3) << 8) | channel(1)) >>> 0
}
