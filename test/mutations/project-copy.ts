// A copy of the project in a temporary folder, in which sources may be changed and built: the real ones
// are never touched.

import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const COPIED = ['src', 'workers', 'types', 'scenarios', 'test/data', 'test/fixtures', 'package.json', 'tsconfig.json',
  'tsconfig.build.json']

export interface Ended {
  /** null: it had to be killed. */
  code: number | null
  stdout: string
  stderr: string
}

export class ProjectCopy {
  readonly folder = mkdtempSync(join(tmpdir(), 'shootdown-mutations-'))

  constructor(root: string) {
    for (const name of COPIED) cpSync(join(root, name), join(this.folder, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'))
  }

  read(file: string): string {
    return readFileSync(join(this.folder, 'src', file), 'utf8')
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.folder, 'src', file), text)
  }

  /** Throws with what the compiler says. What a mutation leaves unused is no error. */
  async build(): Promise<void> {
    const compiler = join(this.folder, 'node_modules/.bin/tsc')
    const { code, stdout } = await this.#run(compiler, ['-p', 'tsconfig.build.json', '--noUnusedLocals', 'false',
      '--noUnusedParameters', 'false'], 300_000)
    if (code !== 0) throw new Error(`it does not build:\n${stdout}`)
  }

  /** `shootdown` of the copy. It is killed after `timeoutMs`. */
  shootdown(args: readonly string[], timeoutMs: number): Promise<Ended> {
    return this.#run(process.execPath, ['dist/src/cli/main.js', ...args], timeoutMs)
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  #run(command: string, args: readonly string[], timeoutMs: number): Promise<Ended> {
    const child = spawn(command, args, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'], killSignal: 'SIGKILL',
      timeout: timeoutMs, env: { ...process.env, NO_COLOR: '1' } })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', code => resolve({ code, stdout, stderr }))
    })
  }
}
