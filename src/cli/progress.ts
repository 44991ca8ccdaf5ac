// Progress of long work on standard error: a line that is rewritten on a terminal, and otherwise
// (a log file, a CI job) a plain line now and then, but only when the work takes long.
// Standard output carries results and is never touched.

const TERMINAL_INTERVAL_MS = 100
/** A log should not grow by work that is over quickly. */
const LOG_INTERVAL_MS = 30_000

export class Progress {
  private readonly stream: NodeJS.WriteStream
  private nextMs: number
  private shown = false

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.stream = stream
    this.nextMs = performance.now() + this.intervalMs()
  }

  /** Shows `text()` if it is time to. Cheap when it is not. */
  update(text: () => string): void {
    const now = performance.now()
    if (now < this.nextMs) return
    this.nextMs = now + this.intervalMs()
    if (!this.stream.isTTY) {
      this.stream.write(`${text()}\n`)
      return
    }
    this.stream.write(`\r\x1b[K${text()}`)
    this.shown = true
  }

  /** Removes the line from the terminal. Call it before anything else is printed. */
  done(): void {
    if (this.shown) this.stream.write('\r\x1b[K')
    this.shown = false
  }

  private intervalMs(): number {
    return this.stream.isTTY ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS
  }
}
