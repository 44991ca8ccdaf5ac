// What goes wrong inside the simulation is a result, not an error: programs get error numbers and
// signals, the trace shows them, and the exit code is 0 unless the scenario expected otherwise.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { shootdown, temporaryFolder } from './support/cli.js'

/** 28M hold the kernel and about 19M for users. */
const SHORT_OF_MEMORY = `
machine: {cpus: 3, memory: 28M}
kernel: {physBase: 2M}
processes:
  - name: hog
    cpu: 0
    program:
      - mmap: {name: whole, size: 64M, expectError: ENOMEM}
      - mmap: {name: one, size: 12M}
      - mmap: {name: two, size: 12M}
      - spin: reserved
      - write: one
      - write: {area: two, bytes: 6M}
      - signal: full
      - write: two
      - mark: never reached
  - name: huge
    cpu: 1
    program:
      - mmap: {name: pages, size: 10M, huge: true}
      - signal: reserved
      - spin: full
      - write: {area: pages, stride: 2M}
      - mark: never reached
  - name: wild
    cpu: 2
    program:
      - read: 0x123000
      - mark: never reached
`

test('out of memory is ENOMEM for a call and SIGKILL or SIGBUS for an access; the run itself is fine', async () => {
  const folder = temporaryFolder({ 'short.yaml': SHORT_OF_MEMORY })
  const args = ['run', 'short.yaml', '--engine', 'inline', '--check', '--trace', 'out.txt']
  const { code, stdout, stderr } = await shootdown(args, { cwd: folder })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/hog {3}SIGKILL at cycle [\d,]+, access to 0x[0-9a-f]{16} in line 15\n/)
  expect(stdout).toMatch(/huge {2}SIGBUS at cycle/)
  expect(stdout).toMatch(/wild {2}SIGSEGV at cycle [\d,]+, access to 0x0000000000123000 in line 28\n/)
  const trace = readFileSync(join(folder, 'out.txt'), 'utf8')
  expect(trace).toMatch(/ hog-1 sys_exit name=mmap result=-12\n/)
  expect(trace).toMatch(/ hog-1 oom what="anonymous page"\n.* hog-1 signal name=SIGKILL /)
  expect(trace).toMatch(/ huge-2 signal name=SIGBUS /)
  expect(trace).toMatch(/ wild-3 signal name=SIGSEGV address=0x0000000000123000\n/)
  expect(trace).not.toContain('never reached')
})

test('a call that fails unannounced and an mmap over another are shown, but do not fail the run', async () => {
  const folder = temporaryFolder({ 's.yaml': [
    'processes:', '  - name: p', '    program:',
    '      - mmap: {name: big, size: 4G}',
    '      - mmap: {name: one, at: 0x20000, pages: 2, fixed: true}',
    '      - mmap: {name: two, at: 0x21000, pages: 2, fixed: true}',
    '  - {name: q, program: [{mmap: {size: 4G, expectError: ENOMEM}}]}',
  ].join('\n') })
  const { code, stdout } = await shootdown(['run', 's.yaml', '--engine', 'inline'], { cwd: folder })
  expect(code).toBe(0)
  expect(stdout).toMatch(/\nFailed system calls\n  cycle [\d,]+: mmap of p-1 returned ENOMEM\n\n/)
  expect(stdout).toMatch(/\nNotes\n  s\.yaml:6:31  replaces \[0x0{11}21000, 0x0{11}22000\) of the mapping of line 5: /)
  const json = await shootdown(['run', 's.yaml', '--engine', 'inline', '--json'], { cwd: folder })
  expect(JSON.parse(json.stdout)).toMatchObject({
    ok: true,
    notes: [{ file: 's.yaml', line: 6, column: 31 }],
    failedCalls: [{ pid: 1, comm: 'p', call: 'mmap', error: 'ENOMEM' }],
    signals: [],
  })
})

test('a scenario that expects another outcome fails with exit code 1', async () => {
  const folder = temporaryFolder({ 's.yaml': [
    'processes:', '  - {name: wild, program: [{read: 0x123000}]}', 'expect:', '  - {task: wild, outcome: exited}',
  ].join('\n') })
  const { code, stdout } = await shootdown(['run', 's.yaml', '--engine', 'inline'], { cwd: folder })
  expect(code).toBe(1)
  expect(stdout).toContain('FAILED  s.yaml:4:5  task wild ends with exited, but pid 1 ended with SIGSEGV\n')
})
