// The oracle runner as a command: what it does with files that are no case files. Its answers are
// held against real page walkers in 160-machine-oracle.test.ts.

import { spawnSync } from 'node:child_process'
import { openSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { ROOT, temporaryFolder } from './support/cli.js'

const ORACLE = join(ROOT, 'dist/src/cli/oracle.js')
const NOISE = Buffer.from(Array.from({ length: 40_000 }, (_, i) => (i * 7919) % 251))

function oracle(args: readonly string[], cwd: string, stdout: number | 'pipe' = 'pipe') {
  const ended = spawnSync(process.execPath, [ORACLE, ...args], { cwd, stdio: ['ignore', stdout, 'pipe'] })
  return { code: ended.status, stderr: ended.stderr.toString() }
}

test.each([
  ['a file that does not exist', 'none.jsonl', /^error: cannot read none\.jsonl: /],
  ['a folder', '.', /^error: cannot read \.: /],
  ['text that is not JSON', 'text.jsonl', /^error: text\.jsonl:1:1: not a JSON object: /],
  ['a binary file', 'noise.jsonl', /^error: noise\.jsonl:1:1: not a JSON object: [\x20-\x7e]+\n$/],
  ['a gzip file of no cases', 'noise.gz', /^error: noise\.gz:1:1: not a JSON object: /],
  ['a gzip file that is cut after a bad line', 'cut.gz', /^error: cut\.gz:1:1: not a JSON object: /],
  ['a file that is not gzip in spite of its name', 'text.gz', /^error: cannot read text\.gz: /],
])('%s is refused with one message', (_, file, message) => {
  const folder = temporaryFolder({
    'text.jsonl': 'hello\n', 'text.gz': 'hello\n', 'noise.jsonl': NOISE,
    'noise.gz': gzipSync(NOISE), 'cut.gz': gzipSync(NOISE).subarray(0, -20),
  })
  const { code, stderr } = oracle([file], folder)
  expect(code).toBe(2)
  expect(stderr).toMatch(message)
  expect(stderr).not.toMatch(/\n\s+at /)
})

test('answers that cannot be written are the user\'s to mend, too', () => {
  const full = openSync('/dev/full', 'w')
  try {
    const { code, stderr } = oracle(['test/data/mmu-sample.jsonl'], ROOT, full)
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: cannot write to standard output: /)
  } finally {
    closeSync(full)
  }
})
