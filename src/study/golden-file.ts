// Where a golden trace is kept: beside its scenario under the same name, with the ending `.golden`, as the
// canonical text, which people read in reviews. A long one, which nobody reads, is compressed:
//
//   pages.yaml   pages.golden      up to 64 KiB of text
//   storm.yaml   storm.golden.br   above, brotli: about a twentieth, so that it may live in git
//
// What is compared is always the text, so that another version of the compressor changes nothing.

import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { readFailure } from '../base/read-failure.js'

export const GOLDEN_ENDING = '.golden'
export const COMPRESSED_ENDING = '.golden.br'

/** Characters of text up to which a golden is kept readable. */
const READABLE_LENGTH = 64 * 1024
/** A golden with more text than this is none. */
const MAX_TEXT_BYTES = 400 * 2 ** 20

const SCENARIO_ENDING = /\.ya?ml$/
const ANY_GOLDEN_ENDING = /\.golden(\.br)?$/

/** `a/b.yaml` has its readable golden in `a/b.golden`. */
export function goldenPath(file: string): string {
  return file.replace(SCENARIO_ENDING, '') + GOLDEN_ENDING
}

function compressedPath(file: string): string {
  return file.replace(SCENARIO_ENDING, '') + COMPRESSED_ENDING
}

export interface Golden {
  path: string
  text: string
}

/** The golden of the scenario `file`; undefined when it has none. Throws UserError when it cannot be read. */
export function readGolden(file: string): Golden | undefined {
  const path = [goldenPath(file), compressedPath(file)].find(each => existsSync(each))
  if (path === undefined) return undefined
  // Written with the line ends of this system by a checkout that converts them.
  return { path, text: readGoldenText(path).replaceAll('\r\n', '\n') }
}

function readGoldenText(path: string): string {
  const at = { file: path, line: 1, column: 1 }
  let bytes: Buffer
  try {
    refuseTooLarge(path)
    bytes = readFileSync(path)
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(`cannot read the golden trace: ${readFailure(error)}`, at)
  }
  if (!path.endsWith(COMPRESSED_ENDING)) return bytes.toString('utf8')
  try {
    return brotliDecompressSync(bytes, { maxOutputLength: MAX_TEXT_BYTES }).toString('utf8')
  } catch {
    throw new UserError('this is not a compressed golden trace, or it is cut off', at,
      ['write it anew with "shootdown test --update"'])
  }
}

function refuseTooLarge(path: string): void {
  const { size } = statSync(path)
  if (size <= MAX_TEXT_BYTES) return
  throw new UserError(`this is too large for a golden trace: ${size} bytes`, { file: path, line: 1, column: 1 })
}

/** Writes the golden of the scenario `file`, whole or not at all, and gives its path. Throws UserError. */
export function writeGolden(file: string, text: string): string {
  const isLong = text.length > READABLE_LENGTH
  const [path, other] = isLong ? [compressedPath(file), goldenPath(file)] : [goldenPath(file), compressedPath(file)]
  const content = isLong
    ? brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } })
    : text
  writeFileAtomic(path, write => write(content))
  rmSync(other, { force: true })
  return path
}

/** Goldens below `folder` that have no scenario beside them. */
export function staleGoldens(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const scenarios = new Set(names.filter(name => SCENARIO_ENDING.test(name))
    .map(name => name.replace(SCENARIO_ENDING, '')))
  return names.filter(name => ANY_GOLDEN_ENDING.test(name) && !name.includes('node_modules')
    && !scenarios.has(name.replace(ANY_GOLDEN_ENDING, ''))).map(name => join(folder, name)).toSorted()
}
