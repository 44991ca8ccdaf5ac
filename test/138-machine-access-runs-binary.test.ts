// The WebAssembly code that is in the repository is what the compiler makes of its source. To make it
// anew: UPDATE_DOCS=1 npx vitest run test/138

import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import asc from 'assemblyscript/asc'
import { expect, test } from 'vitest'

const FOLDER = resolve('src/machine/access-runs')
const SOURCE = 'src/machine/access-runs/assembly/patterns.ts'
const CHARACTERS_PER_LINE = 116

test('binary.ts is compiled from assembly/', async () => {
  const text = moduleText(await compile())
  const file = resolve(FOLDER, 'binary.ts')
  if (process.env.UPDATE_DOCS === '1') writeFileSync(file, text)
  expect(readFileSync(file, 'utf8')).toBe(text)
})

async function compile(): Promise<Uint8Array> {
  const written = new Map<string, Uint8Array>()
  const options = [
    SOURCE, '-O3', '--runtime', 'stub', '--enable', 'simd', '--enable', 'threads', '--importMemory', '--sharedMemory',
    '--maximumMemory', '65536', '--outFile', 'out.wasm',
  ]
  const { error, stderr } = await asc.main(options, {
    writeFile: (name, contents) => void written.set(name, contents as Uint8Array),
  })
  expect(error?.message ?? '', stderr.toString()).toBe('')
  return written.get('out.wasm')!
}

function moduleText(bytes: Uint8Array): string {
  const base64 = Buffer.from(bytes).toString('base64')
  const lines = base64.match(new RegExp(`.{1,${CHARACTERS_PER_LINE}}`, 'g'))!
  return `// The compiled form of assembly/ (AssemblyScript). Made and compared by test/138.

export const ACCESS_RUNS_BASE64 = \`
${lines.join('\n')}
\`
`
}
