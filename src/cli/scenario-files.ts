// Which scenarios a path means: a file means itself, a folder all scenario files below it. Studies
// (*.study.yaml) are not scenarios: `shootdown sweep` runs them.

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '../base/errors.js'
import { readFailure } from '../base/read-failure.js'

const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', 'coverage'])

/** Scenario files below `paths`, each once, in the order of their names. Throws UserError for what cannot be read. */
export function scenarioFiles(paths: readonly string[]): string[] {
  const found = new Set<string>()
  for (const path of paths) {
    if (!isFolder(path)) {
      found.add(path)
      continue
    }
    const inside = filesBelow(path)
    if (inside.length === 0) throw new UserError(`no scenario (*.yaml, *.yml) below "${path}"`)
    for (const file of inside) found.add(file)
  }
  return [...found]
}

function isFolder(path: string): boolean {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat !== undefined) return stat.isDirectory()
  } catch (error) {
    throw new UserError(`cannot read ${path}: ${readFailure(error)}`)
  }
  throw new UserError(`there is no file or folder "${path}"`)
}

function filesBelow(folder: string): string[] {
  let entries
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    throw new UserError(`cannot read the folder "${folder}": ${readFailure(error)}`)
  }
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1)).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (!entry.isDirectory()) return /(?<!\.study)\.ya?ml$/.test(entry.name) ? [path] : []
    return entry.name.startsWith('.') || SKIPPED_FOLDERS.has(entry.name) ? [] : filesBelow(path)
  })
}
