// scenarios/regression reads like a textbook: one rule a file, said in its comment, asked in its question, and
// checked by its facts. That the traces are right is test/710.

import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { scenarioFiles } from '../src/cli/scenario-files.js'
import { loadScenario } from '../src/scenario/parse.js'
import { EVENT_VOCABULARY as events } from '../src/trace/vocabulary.js'
import { ROOT } from './support/cli.js'

const FILES = scenarioFiles([join(ROOT, 'scenarios/regression')])
const MAX_LINES = 50

/** What the first word of a file name says. */
const TOPICS: Readonly<Record<string, string>> = {
  switch: 'Switching', pcid: 'PCIDs', lazy: 'Lazy TLB', idle: 'Idle', mask: 'mm_cpumask', flush: 'Flush requests',
  gather: 'Gathering', munmap: 'munmap', mprotect: 'mprotect', madvise: 'madvise', mremap: 'mremap', fault: 'Faults',
  cow: 'Copy-on-write', fork: 'fork', vfork: 'vfork', exec: 'execve', exit: 'Exit', kthread: 'Kernel threads',
  ldt: 'LDT', hugetlb: 'hugetlb', thp: 'Transparent huge pages', migrate: 'Migration', numa: 'NUMA hints',
  reclaim: 'Reclaim', writeback: 'Write-back', truncate: 'Truncation', vfree: 'Kernel buffers',
  pti: 'Page-table isolation', gup: 'Lockless walks', sched: 'Scheduling', signal: 'Signals', pae: 'i386 PAE',
  geometry: 'Other page tables', policy: 'Other policies',
}

const load = (file: string): ReturnType<typeof loadScenario> =>
  loadScenario(file, { events }, () => expect.unreachable('no rule needs a trace'))

describe('a rule', () => {
  const cases = FILES.map(file => [basename(file), file])
  test.each(cases)('%s: is stated, asked, looked for and checked', async (_, file) => {
    const text = readFileSync(file, 'utf8')
    expect(text).toMatch(/^# /)
    expect(text.split('\n').length).toBeLessThanOrEqual(MAX_LINES)
    const { name, question, lookFor, expectations, config, notes } = await load(file)
    expect(`${name}.yaml`).toBe(basename(file))
    expect(question).toMatch(/\?$/)
    expect(lookFor.length).toBeGreaterThan(0)
    expect(expectations.length).toBeGreaterThan(0)
    expect(notes).toEqual([])
    // The name says the era where the rule belongs to one.
    if (name.endsWith('-46')) expect(config.kernel.era).toBe('linux-4.6')
    if (name.endsWith('-6x')) expect(config.kernel.era).toBe('linux-6.x')
    expect(TOPICS[name.split('-')[0]!]).toBeDefined()
  })
})

test('scenarios/regression/README.md lists them all, by topic (UPDATE_DOCS=1 writes it)', async () => {
  const rows = await Promise.all(FILES.map(async (path) => {
    const { name, question } = await load(path)
    return { file: basename(path), name, question }
  }))
  const sections = Object.entries(TOPICS).map(([topic, title]) => {
    const own = rows.filter(({ name }) => name.startsWith(`${topic}-`))
    return own.length === 0 ? '' : `## ${title}\n\n${own.map(({ file, name, question }) =>
      `- [${name}](${file}): ${question}\n`).join('')}\n`
  })
  const text = `# Rules, one a file

Each file states a rule of a kernel or a CPU, shows it in a few operations and checks it; its
golden trace beside it guards every event. \`npm run golden\` compares them all, \`npm run golden:update\` writes
them anew after a change that was meant. Names end in 46 or 6x where the rule belongs to one kernel.

${sections.join('')}`.trimEnd()
  const path = join(ROOT, 'scenarios/regression/README.md')
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, `${text}\n`)
  else expect(readFileSync(path, 'utf8')).toBe(`${text}\n`)
})
