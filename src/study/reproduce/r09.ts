// R9: one interrupt in a guest, four ways: xAPIC or x2APIC, with an exit for every command or virtualised.

import { runScenario, times } from './simulated.js'
import { mean, within } from './target.js'
import type { Results, Run, Target } from './target.js'

const MACHINE = 'kvm-guest'
const ROUNDS = 5
const WAYS = [
  { name: 'xAPIC, exit', apic: 'xapic-flat', icr: 'exit', published: 6059 },
  { name: 'xAPIC, virtualised', apic: 'xapic-flat', icr: 'virtualized', published: 4713 },
  { name: 'x2APIC, exit', apic: 'x2apic-physical', icr: 'exit', published: 4338 },
  { name: 'x2APIC, virtualised', apic: 'x2apic-physical', icr: 'virtualized', published: 3645 },
] as const
type Way = (typeof WAYS)[number]

function interrupt({ name, apic, icr }: Way): Run {
  return {
    key: name,
    measure: async () => {
      const done = await runScenario({
        machine: { preset: MACHINE, cpus: 2, apic, icr }, kernel: 'linux-6.x',
        processes: [{ name: 'p', threads: [
          { name: 'sender', cpu: 0, program: [
            { mmap: { name: 'a', pages: 1 } }, { spin: 'ready' },
            ...times(ROUNDS, () => [{ write: 'a' }, { madvise: { area: 'a', advice: 'dontneed' } }]), { signal: 'end' },
          ] },
          { name: 'target', cpu: 1, program: [{ signal: 'ready' }, { spin: 'end' }] },
        ] }],
      })
      const taken: number[] = []
      let sent = 0
      for (const event of done.events()) {
        if (event.name === 'ipi_send_cpu' && event.cpu === 0) sent = event.cycle
        // A command may be for another vector: each handler belongs to the last one before it.
        if (event.name === 'call_function_single_entry' && event.cpu === 1) taken.push(event.cycle - sent)
      }
      // What comes after the rounds belongs to the exit of a process, on a CPU that is in the kernel.
      return { cycles: mean(taken.slice(0, ROUNDS)), handled: taken.length }
    },
  }
}

export const R9: Target = {
  id: 'R9',
  title: 'IPIs under virtualisation',
  kind: 'gate',
  source: 'KVM-IPIV: Intel, 2 pinned virtual CPUs, the target polls',
  mark: 'v',
  machines: [MACHINE],
  setup: 'From the command of one virtual CPU to the handler on the other, which spins in user mode.',
  fitted: ['icrExitXapic, icrExitX2apic, icrVirtualXapic, icrVirtualX2apic: a price for each bar'],
  departures: ['hackbench is not simulated: the source gives it to be shown only'],
  runs: () => WAYS.map(interrupt),
  judge: (results: Results) => ({
    rows: WAYS.map(({ name, published }) => within(name, 'cycles', published, results.get(name, 'cycles'), 10)),
    figures: [{
      kind: 'bars',
      chart: {
        title: 'R9: an interrupt between two virtual CPUs', y: { label: 'command to handler (cycles)' },
        categories: WAYS.map(({ name }) => name),
        series: [{ name: 'simulated', values: WAYS.map(({ name }) => results.get(name, 'cycles')) }],
        marks: [{ name: 'published [v] KVM-IPIV, +-10 %', values: WAYS.map(({ published }) => published),
          ranges: WAYS.map(({ published }) => [published * 0.9, published * 1.1] as const) }],
      },
    }],
  }),
}
