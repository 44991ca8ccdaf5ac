// R14: what a bystander feels of flushes: a thread writes its own pages while another one of the process frees a huge
// chunk, one gather after the other.

import { runScenario } from './simulated.js'
import type { Operation } from './simulated.js'
import { between, quantile, shown, within } from './target.js'
import type { Results, Run, Size, Target } from './target.js'

const MACHINE = 'hsw-2s'
const BATCH_PAGES = 16
/**
 * The victim's chunk, 2 GiB for 4: more lines than the last-level cache holds (491,520) even at one a page, as there.
 * The published program loops over its chunk for seconds before anything is freed; here it goes once.
 */
const OWN_PAGES = 524_288
const QUIET_BATCHES = 1000
/** Published quiet times of a page, ns, by share: memory of a walk over 4 GB, which the simulator does not model. */
const QUIET_NS = [[0.5, 64, 67], [0.9, 67, 85], [0.99, 85, 97], [1, 97, 129]] as const
/** What the simulator itself takes for the writes of a batch is in the measured time too. */
const PUBLISHED = { quiet: [64, 70.98, 67, 85, 97, 129], free: [64, 72, 68, 85, 98, 293] } as const
const NAMES = ['min', 'mean', 'p50', 'p90', 'p99', 'max'] as const

/** The n-th batch: shares of a thousand in a fixed shuffled order, so that quantiles are those published. */
function batchNs(n: number): number {
  const share = ((n * 617) % 1000 + 0.5) / 1000
  let below = 0
  for (const [upTo, low, high] of QUIET_NS) {
    if (share < upTo) return BATCH_PAGES * (low + (high - low) * (share - below) / (upTo - below))
    below = upTo
  }
  return BATCH_PAGES * 129
}

/** `pages` of the chunk that is freed; the batches that the victim writes meanwhile. */
function disturb(pages: number): Run {
  return {
    key: 'free',
    measure: async () => {
      const costs = 300
      const disturbed = Math.ceil(pages * costs / 2400 / 1.15)
      const batch = (n: number): Operation[] => [
        { mark: 'batch' }, { compute: `${Math.round(batchNs(n) - 110)}ns` },
        { write: { area: 'own', offset: (n % (OWN_PAGES / BATCH_PAGES)) * BATCH_PAGES * 4096, pages: BATCH_PAGES } },
      ]
      const victim = [
        { mmap: { name: 'own', pages: OWN_PAGES } }, { write: 'own' }, { spin: 'ready' },
        ...Array.from({ length: QUIET_BATCHES }, (_, n) => batch(n)).flat(), { signal: 'go' },
        ...Array.from({ length: disturbed }, (_, n) => batch(n)).flat(), { mark: 'batch' },
      ]
      const culprit = [
        { mmap: { name: 'chunk', pages } }, { write: 'chunk' }, { signal: 'ready' }, { spin: 'go' },
          { munmap: 'chunk' },
      ]
      const done = await runScenario({
        machine: { preset: MACHINE, cpus: 2, sockets: 1, memory: '4G' }, kernel: { era: 'linux-6.x', idle: 'poll' },
        processes: [{ name: 'p', threads: [
          { name: 'culprit', cpu: 0, program: culprit }, { name: 'victim', cpu: 1, program: victim },
        ] }],
      })
      const at = done.marks('batch')
      const ns = at.slice(1).map((cycle, i) => (cycle - at[i]! - 150) / 2.4)
      const quiet = ns.slice(0, QUIET_BATCHES)
      const free = ns.slice(QUIET_BATCHES)
      const handlers = [...done.events()].filter(event => event.cpu === 1 && event.cycle >= at[QUIET_BATCHES]!
        && (event.name === 'call_function_entry' || event.name === 'call_function_single_entry')).length
      // Without flushes both halves do the same, batch by batch: what is longer was interrupted.
      const stalls = free.map((value, n) => value - quiet[n % QUIET_BATCHES]!).filter(value => value > 100)
      const stats = (values: readonly number[], name: string) => Object.fromEntries(NAMES.map((each) => {
        const share = { min: 0, p50: 0.5, p90: 0.9, p99: 0.99, max: 1, mean: -1 }[each]
        const value = share < 0 ? values.reduce((sum, one) => sum + one, 0) / values.length : quantile(values, share)
        return [`${name} ${each}`, value / BATCH_PAGES]
      }))
      return {
        ...stats(quiet, 'quiet'), ...stats(free, 'free'), handlers, stalls: stalls.length,
        stallUs: stalls.reduce((sum, one) => sum + one, 0) / stalls.length / 1000,
        worstStallUs: Math.max(...stalls) / 1000,
      }
    },
  }
}

export const R14: Target = {
  id: 'R14',
  title: 'What the victim feels',
  kind: 'gate',
  source: 'VICTIM: 2 x E5-2680 v3, Linux 4.15, two isolated CPUs',
  mark: 'v',
  machines: [MACHINE],
  setup: 'The victim writes 16 pages a batch; its quiet times are an input (the published quiet distribution), what '
    + 'the '
    + 'frees add is simulated.',
  fitted: [],
  departures: [
    'a chunk of 256 MB stands for the 4 GB that are freed: fewer flushes, each of the same size; one of 2 GiB, walked '
      + 'once before the measurement, for the 4 GB that the victim walks for seconds',
    '2.4 GHz instead of 2.5',
    'no context tracking: their CPUs are tick-free (nohz_full), which costs at each crossing into the kernel',
    'the published 2.6 us are the worst batch less the worst quiet one: the worst stall is judged, the mean shown',
  ],
  runs: (size: Size) => [disturb(size === 'full' ? 65_536 : 30_000)],
  judge: (results: Results) => {
    const get = (name: string): number => results.get('free', name)
    return {
      rows: [
        within('p50 during the free / quiet', 'ratio', 1, get('free p50') / get('quiet p50'), 3),
        within('p90 during the free / quiet', 'ratio', 1, get('free p90') / get('quiet p90'), 3),
        within('max during the free / quiet', 'ratio', 2.27, get('free max') / get('quiet max'), 30),
        between('worst stall of the responder', 'us', 2.6, get('worstStallUs'), 2, 4.5),
        shown('mean stall of the responder', 'us', undefined, get('stallUs')),
        within('stalls / flush interrupts', 'ratio', 1, get('stalls') / get('handlers'), 0),
        ...NAMES.flatMap((name, i) => [
          shown(`quiet, ${name}`, 'ns a page', PUBLISHED.quiet[i], get(`quiet ${name}`)),
          shown(`during the free, ${name}`, 'ns a page', PUBLISHED.free[i], get(`free ${name}`)),
        ]),
      ],
      figures: [{
        kind: 'bars',
        chart: {
          title: 'R14: a bystander\'s writes while another thread frees memory', y: { label: 'time of a page (ns)' },
          categories: NAMES,
          series: (['quiet', 'free'] as const).map(state => ({
            name: `simulated, ${state === 'free' ? 'during the free' : state}`,
              values: NAMES.map(name => get(`${state} ${name}`)),
          })),
          marks: [
            { name: 'published [v], quiet', values: PUBLISHED.quiet },
              { name: 'published [v], during', values: PUBLISHED.free },
          ],
        },
      }],
    }
  },
}
