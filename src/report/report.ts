// A run as one HTML file: data, style and script inside, nothing to be fetched from anywhere. The
// page's Content-Security-Policy allows exactly this script and this style, and no connection, so the
// file can be opened from a disk, a mail or a CI artifact, and cannot send anything.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { EngineError } from '../base/errors.js'
import { SKELETON } from './skeleton.js'
import { STYLE } from './style.js'

/** The page's script is bundled by the build (package.json): src/page in one file. */
const SCRIPT = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/src/page/page.js', import.meta.url)
  : new URL('../page/page.js', import.meta.url)

/** Better than the default by a few percent, and still a second for a million events. */
const GZIP_LEVEL = 7
const BASE64_LINE = 3 * 25_000

/** Writes the page for a packed run in pieces. */
export function writeReport(title: string, block: Uint8Array, write: (piece: string) => void): void {
  const script = readScript()
  const packed = gzipSync(block, { level: GZIP_LEVEL })
  const policy = [
    "default-src 'none'", `script-src '${hashOf(script)}'`, `style-src '${hashOf(STYLE)}'`, 'img-src data:',
    "base-uri 'none'", "form-action 'none'",
  ].join('; ')
  write([
    '<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E">',
    `<title>${escaped(title)}</title>`, `<style>${STYLE}</style>`, '</head>', '<body>', SKELETON,
    '<script type="application/octet-stream" id="data">', '',
  ].join('\n'))
  for (let from = 0; from < packed.length; from += BASE64_LINE) {
    write(`${packed.subarray(from, from + BASE64_LINE).toString('base64')}\n`)
  }
  write(`</script>\n<script>${script}</script>\n</body>\n</html>\n`)
}

/** The bundled script, made safe to stand inside the page. */
function readScript(): string {
  try {
    return readFileSync(SCRIPT, 'utf8').replaceAll('</script', '<\\/script')
  } catch (error) {
    throw new EngineError(`the script of reports is not there: ${fileURLToPath(SCRIPT)} (npm run build makes it)`,
      { cause: error })
  }
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
