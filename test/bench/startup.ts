// Bench: how long `run` takes from the shell, from the start of the process to its end, and how much
// memory it needs. Short runs are all start-up; a large machine is all threads.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measure, type BenchRow, type BenchSuite } from './suite.js'

const PASSES = 9
/** Prints the largest resident set of the process, in KiB, when it ends. */
const RSS = 'data:text/javascript,process.on("exit",()=>process.stderr.write(String(process.resourceUsage().maxRSS)))'

/** Every CPU maps, touches for about 5 ms of its time, and unmaps. */
const LARGE = (cpus: number): string => `
name: large
cpus: ${cpus}
processes:
  - name: app
    threads:
      - name: worker
        cpu: 0
        copies: ${cpus}
        program:
          - mmap: {name: buf, pages: 16}
          - write: buf
          - read: {area: buf, count: 200000}
          - munmap: buf
`

/** `root`: the project's folder. */
export async function benchStartup(root: string): Promise<BenchSuite> {
  const main = join(root, 'dist/src/cli/main.js')
  const folder = mkdtempSync(join(tmpdir(), 'shootdown-bench-'))
  try {
    const rows: BenchRow[] = []
    const tour = [main, 'run', join(root, 'scenarios/tour/01-first-walk.yaml'), '--cpus', '2']
    rows.push(await startup('run of a tour scenario, 2 CPUs', tour, PASSES))
    rows.push(await startup('the same, --engine inline', [...tour, '--engine', 'inline'], PASSES))
    for (const cpus of [64, 256]) {
      const file = join(folder, `large-${cpus}.yaml`)
      writeFileSync(file, LARGE(cpus))
      rows.push(await startup(`run of ${cpus} CPUs`, [main, 'run', file], 3))
      rows.push(await startup(`run of ${cpus} CPUs, --host-threads 2`, [main, 'run', file, '--host-threads', '2'], 3))
    }
    return { name: 'startup', notes: ['processes, from their start to their end'], rows }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function startup(name: string, args: readonly string[], passes: number): Promise<BenchRow> {
  let largestKiB = 0
  const [row] = await measure([{ name, operations: 1, unit: 'runs', run: () => {
    const { status, stderr } = spawnSync(process.execPath, ['--import', RSS, ...args], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
    largestKiB = Math.max(largestKiB, Number(/\d+$/.exec(stderr)?.[0] ?? 0))
    return undefined
  } }], passes, 1)
  return { ...row!, note: `${Math.round(largestKiB / 1024)} MiB` }
}
