// What `shootdown init` writes into a repository: a first scenario that shows something, and the workflow of GitHub
// Actions that guards its trace. docs/ci.md shows the workflow as it is here.

export const SCENARIO_FILE = 'scenarios/first-shootdown.yaml'
export const WORKFLOW_FILE = '.github/workflows/shootdown.yml'

/** Two threads of a process on two CPUs; one unmaps what the other has read. */
export const FIRST_SCENARIO = `# One thread unmaps memory that another one, on another CPU, has in its TLB.
#
#   npx shootdown run scenarios/first-shootdown.yaml     what happens, and what it costs
#   npx shootdown test                                   is it still what it was?
#   npx shootdown test --update                          it has changed, and that is meant
name: first-shootdown
question: Who is interrupted when one thread unmaps three pages?
cpus: 3
kernel: linux-6.x                 # or linux-4.6, or {policy: xen} and others
processes:
  - name: server
    threads:
      - name: main
        cpu: 0
        program:
          - mmap: {name: buf, pages: 16}
          - write: buf            # a page fault for each page
          - signal: mapped
          - compute: 50us         # by now reader has read, and sleeper is asleep
          - munmap: {area: buf, offset: 16K, pages: 3}
          - signal: done
      - name: reader              # runs: it must be interrupted
        cpu: 1
        program:
          - spin: mapped
          - read: buf
          - spin: done
      - name: sleeper             # sleeps: its CPU is lazy and is left alone
        cpu: 2
        program:
          - spin: mapped
          - read: buf
          - sleep: 200us
expect:                           # facts that must hold whatever else changes
  - {event: tlb_flush, where: {cpu: 1, reason: remote shootdown, pages: 3}, count: 1}
  - {event: tlb_flush, where: {cpu: 2, reason: remote shootdown}, count: 0}
  - {task: main, outcome: exited}
`

/** `install`: the package is a dependency of the repository; otherwise npx fetches exactly this version. */
export function workflow(version: string, install: boolean): string {
  const run = install ? '- run: npm ci\n      - run: npx shootdown' : `- run: npx --yes shootdown@${version}`
  return `# Compares the trace of every scenario with the golden trace beside it. What differs becomes an
# annotation at the operation of the scenario that caused it.
name: shootdown
on: [push, pull_request]
permissions:
  contents: read
jobs:
  traces:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-node@v4
        with:
          node-version: 22
      ${run} test scenarios --ci --reporter github
`
}
