// One self-contained HTML page: style and pictures inside, nothing is loaded, no script is needed to read it. The
// content policy forbids the rest.

import { FAINT_INK, GRID, INK, PAPER } from './palette.js'
import { escapeText } from './svg.js'

export interface Page {
  title: string
  /** HTML below the title. */
  body: string
}

const DARK_PAPER = '#1b1b1b'

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 78rem; margin: 0 auto;
  padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
h3 { font-size: 1.05rem; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eee; }
td.n, th.n { text-align: right; white-space: nowrap; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; max-width: 100%; }
svg { max-width: 100%; height: auto; }
.pass { color: #00664a; font-weight: 600; } .miss { color: #a33c00; font-weight: 600; }
.note { color: #555; } code { font-size: .92em; background: #f4f4f4; padding: 0 .2em; }
details { margin: .4rem 0; } summary { cursor: pointer; }
@media (prefers-color-scheme: dark) {
  :root { color-scheme: dark; }
  body { color: #ddd; background: ${DARK_PAPER}; } a { color: #8ab4f8; }
  h2 { border-color: #444; } th, td { border-color: #333; } .note { color: #aaa; } code { background: #2a2a2a; }
  .pass { color: #4cc9a0; } .miss { color: #ff9a5c; }
  ${darkRules()}
}
`

/** A picture is made for paper; in the dark its paper and ink change, and its colours stay. */
function darkRules(): string {
  const changes = [[PAPER, DARK_PAPER], [INK, '#dddddd'], [FAINT_INK, '#a8a8a8'], [GRID, '#383838'],
    ['#000000', '#ffffff']]
  return changes.map(([from, to]) => `svg[fill="${from}"], svg [fill="${from}"] { fill: ${to}; } `
    + `svg [stroke="${from}"] { stroke: ${to}; }`).join('\n  ')
}

const POLICY = 'default-src \'none\'; style-src \'unsafe-inline\'; img-src data:'

export function pageHtml({ title, body }: Page): string {
  return [
    '<!doctype html>', '<html lang="en">', '<head>', '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escapeText(title)}</title>`, `<style>${STYLE}</style>`, '</head>', '<body>',
    `<h1>${escapeText(title)}</h1>`, body, '</body>', '</html>', '',
  ].join('\n')
}

export interface TableColumn {
  title: string
  isNumber?: boolean
}

/** A table; cells are text, or HTML where the caller made it with {@link html}. */
export function tableHtml(columns: readonly TableColumn[], rows: readonly (readonly (string | Html)[])[]): string {
  const cell = (tag: 'td' | 'th', at: number, content: string | Html): string => (
    `<${tag}${columns[at]?.isNumber === true ? ' class="n"' : ''}>${htmlOf(content)}</${tag}>`)
  return [
    '<table>', `<tr>${columns.map(({ title }, at) => cell('th', at, title)).join('')}</tr>`,
    ...rows.map(row => `<tr>${row.map((content, at) => cell('td', at, content)).join('')}</tr>`), '</table>',
  ].join('\n')
}

/** Text that is HTML already. */
export interface Html {
  readonly html: string
}

export function html(text: string): Html {
  return { html: text }
}

function htmlOf(content: string | Html): string {
  return typeof content === 'string' ? escapeText(content) : content.html
}

/** A file inside the page, as a link that saves it. */
export function fileHtml(name: string, type: string, text: string): string {
  const base64 = Buffer.from(text).toString('base64')
  return `<a download="${name}" href="data:${type};base64,${base64}">${name}</a> (${Math.ceil(text.length / 1024)} KiB)`
}
