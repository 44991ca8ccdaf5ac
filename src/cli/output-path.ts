// Can a file be written at all? Asked before long work, so that it is not lost at the end.

import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { UserError } from '../base/errors.js'

/** Throws a UserError when `path` is a folder, or its folder does not exist or may not be written to. */
export function openable(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new UserError(`cannot write ${path}: it is a folder`)
  }
  const folder = dirname(path)
  if (!existsSync(folder)) throw new UserError(`cannot write ${path}: the folder does not exist`)
  try {
    accessSync(existsSync(path) ? path : folder, constants.W_OK)
  } catch {
    throw new UserError(`cannot write ${path}: permission denied`)
  }
}
