// Sessions that documents show: a ```console block holds a command after "$ " and what it prints. The
// lines must be in the output in their order; a line of dots stands for any lines.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { ROOT, shootdown } from './cli.js'

export interface Session {
  /** What follows "shootdown", split at spaces; quotes hold words together. */
  args: string[]
  /** As it is shown, without "$ ". */
  command: string
  output: string
  /** What `(exit code N)` in the last line says; 0 without it. */
  code: number
}

/** How documents write the command: installed, and in a checkout. */
const PREFIX = /^(npx shootdown|npm run -s shootdown --|shootdown) /

/** All sessions of a document, in its order. */
export function sessionsOf(document: string): Session[] {
  const text = readFileSync(join(ROOT, document), 'utf8')
  return Array.from(text.matchAll(/^```console\n([^]*?)^```$/gm), ([, block]) => block!)
    .flatMap(block => block.split(/^(?=\$ )/m))
    .map((session) => {
      const [, command = '', shown = ''] = /^\$ (.+)\n([^]*)$/.exec(session) ?? []
      const [, output = shown, code = '0'] = /^([^]*)\(exit code (\d)\)\n$/.exec(shown) ?? []
      if (!PREFIX.test(command)) throw new Error(`${document}: not a command of ours: ${session}`)
      return { command, output, code: Number(code), args: wordsOf(command.replace(PREFIX, '')) }
    })
}

/** Runs the command, with more options if need be, and fails when it prints something else. */
export async function expectSession({ args, output, code }: Session, more: readonly string[] = []): Promise<void> {
  const ended = await shootdown([...args, ...more])
  expect({ code: ended.code, stderr: code === 0 ? ended.stderr : '' }).toEqual({ code, stderr: '' })
  let rest = code === 2 ? ended.stderr : ended.stdout
  for (const [index, piece] of output.split(/^ *\.\.\.\n/m).entries()) {
    const at = rest.indexOf(piece)
    expect(at < 0 || (index === 0 && at > 0) ? `not in the output: ${piece}\n--- of ---\n${rest}` : '').toBe('')
    rest = rest.slice(at + piece.length)
  }
  // Output that goes on has to be marked.
  if (!/^ *\.\.\.\n$/m.test(output.slice(-8))) expect(rest).toBe('')
}

function wordsOf(command: string): string[] {
  return Array.from(command.matchAll(/'([^']*)'|"([^"]*)"|([^\s'"]+)/g), ([, a, b, c]) => a ?? b ?? c!)
}
