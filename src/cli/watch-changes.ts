// What --watch waits for: a scenario, a golden trace or a recorded trace that somebody saved. Watching goes
// on while the tests run, so that nothing saved meanwhile is missed; what the tests write themselves is
// no change.

import { statSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { dirname, join } from 'node:path'

/** Editors save in several steps, milliseconds. */
const SETTLE_MS = 150
const INTERESTING = /\.(ya?ml|golden|golden\.br|trace|ftrace|xz|gz)$/

export class ChangeWatch {
  readonly #watchers: FSWatcher[]
  readonly #changed = new Set<string>()
  /** When our own writes were done, by path, ms. */
  readonly #own = new Map<string, number>()
  #notify: () => void = () => {}

  /** Folders with everything below; of files their folder, as many editors replace a file by another. */
  constructor(paths: readonly string[]) {
    this.#watchers = paths.map((path) => {
      const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
      const folder = isFolder ? path : dirname(path)
      return watch(folder, { recursive: isFolder }, (_event, name) => {
        if (name === null || !INTERESTING.test(name)) return
        this.#changed.add(join(folder, name))
        this.#notify()
      })
    })
  }

  /** The file as it is now was written by us. */
  ignore(path: string): void {
    this.#own.set(path, modifiedMs(path))
  }

  /** Paths that have changed since the last call, as soon as there are any; none when the signal ends it. */
  next(signal: AbortSignal): Promise<string[]> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined
      const end = (paths: string[]): void => {
        clearTimeout(timer)
        this.#notify = () => {}
        signal.removeEventListener('abort', onAbort)
        resolve(paths)
      }
      const onAbort = (): void => end([])
      const settled = (): void => {
        const paths = this.#take()
        if (paths.length > 0) end(paths)
      }
      this.#notify = () => {
        clearTimeout(timer)
        timer = setTimeout(settled, SETTLE_MS)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#notify()
    })
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close()
  }

  #take(): string[] {
    const paths = [...this.#changed].filter(path => this.#own.get(path) !== modifiedMs(path))
    this.#changed.clear()
    return paths.toSorted()
  }
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
