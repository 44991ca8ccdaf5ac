// An output that is one of the inputs would destroy it: `--trace a.trace` where a scenario replays
// a.trace, or an image written over the scenario. Asked before anything runs.

import { statSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { UserError } from '../base/errors.js'
import type { Scenario } from '../scenario/scenario.js'

/** Throws when writing `path` would replace `input`, under whatever name. */
export function refuseSameFile(path: string, input: string): void {
  if (isSameFile(path, input)) {
    throw new UserError(`cannot write ${path}: it is an input of this run, and would be lost`)
  }
}

/** Throws when writing `path` would replace a scenario or a trace that it replays, under whatever name. */
export function refuseToOverwrite(path: string, { file, image }: Scenario): void {
  for (const input of [file, ...image.traces.map((trace) => trace.file)]) refuseSameFile(path, input)
}

function isSameFile(a: string, b: string): boolean {
  const [left, right] = [statOf(a), statOf(b)]
  return left !== undefined && right !== undefined && left.dev === right.dev && left.ino === right.ino
}

/** Undefined for what is not there or cannot be seen: who reads or writes it says why. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}
