// What a run records for its report: it changes nothing, every engine records the same, and what was
// recorded is what the machine and the dumps say.

import { describe, expect, test } from 'vitest'
import { ENGINES } from '../src/engine/scheduler-loop.js'
import { simulate, simulateHere } from '../src/engine/simulate.js'
import { RecordedMemory } from '../src/inspect/recorded-memory.js'
import { TlbLooks } from '../src/inspect/tlb-looks.js'
import { forEachEntry } from '../src/inspect/table-walk.js'
import { geometryOf } from '../src/machine/geometry.js'
import { MODE_INTERRUPT, MODE_USER, VERDICTS } from '../src/trace/observations.js'
import { EVENT } from '../src/trace/events.js'
import { tourScenario } from './support/tour.js'

describe('a recorded run', () => {
  for (const name of ['02-shootdown', '06-fork-cow', '08-page-table-isolation', '10-lazy-shootdown-46']) {
    test(`${name} is the same run, and the same recording with every engine`, async () => {
      const { config, image } = await tourScenario(name)
      const plain = (await simulate(config, image, { engine: 'reference' })).result
      const recordings = []
      for (const engine of ENGINES) {
        const { recording, ...result } = (await simulate(config, image, { engine, record: true })).result
        expect({ ...result, steps: 0 }).toEqual({ ...plain, steps: 0 })
        recordings.push(recording)
      }
      expect(recordings[0]).toBeDefined()
      expect(recordings[1]).toEqual(recordings[0])
      expect(recordings[2]).toEqual(recordings[0])
    })
  }

  test('the entries that were written are those that stand in memory at the end', async () => {
    const { config, image } = await tourScenario('02-shootdown')
    const { simulation, result } = await simulateHere(config, image, { record: true, untilCycle: 200_000 })
    const { writes, mms } = result.recording!
    const { pfn, slot, lo, hi } = writes.columns
    const words = new Map<string, string>()
    for (let i = 0; i < writes.length; i++) {
      if (slot[i] >= 0) words.set(`${pfn[i]}.${slot[i]}`, `${lo[i]} ${hi[i]}`)
      else for (const key of words.keys()) if (key.startsWith(`${pfn[i]}.`)) words.delete(key)
    }
    let entries = 0
    for (const mm of simulation.kernel.mms.values()) {
      expect(mms.find(({ ctxId }) => ctxId === mm.ctxId)?.root).toBe(mm.pgdPfn)
      forEachEntry(simulation.kernel, mm, { from: 0, to: 256 }, (entry) => {
        entries += 1
        expect(words.get(`${entry.table}.${entry.slot}`)).toBe(`${entry.lo | 0} ${entry.hi | 0}`)
      })
    }
    expect(entries).toBe(19)
  })

  test('a CPU is in a handler when its trace says so, and in user mode when it runs a program', async () => {
    const { config, image } = await tourScenario('02-shootdown')
    const { trace, recording } = (await simulate(config, image, { engine: 'inline', record: true })).result
    const { lanes } = recording!
    const modeAt = (cpu: number, cycle: number): number => {
      let mode = -1
      for (let i = 0; i < lanes.length; i++) {
        if (lanes.columns.cpu[i] === cpu && lanes.cycle[i] <= cycle) mode = lanes.columns.mode[i]
      }
      return mode
    }
    const entry = trace.kind.indexOf(EVENT.callFunctionEntry)
    expect(modeAt(trace.cpu[entry], trace.cycle[entry])).toBe(MODE_INTERRUPT)
    expect(modeAt(1, 200_000)).toBe(MODE_USER)
  })

  test('what CPUs hold at the end of a run is what the last look saw', async () => {
    const { config, image } = await tourScenario('02-shootdown')
    const { simulation, result } = await simulateHere(config, image, { record: true, untilCycle: 262_000 })
    const { cycles, held } = result.recording!.looks
    const { to, cpu, verdict } = held.columns
    const last = Array.from(to.keys()).filter((row) => to[row] === cycles.length - 1)
    for (const { id } of simulation.kernel.cpus) {
      let entries = 0
      simulation.kernel.platform.mmu(id).forEachTlbEntry(() => { entries += 1 })
      simulation.kernel.platform.mmu(id).forEachPagingCacheEntry(() => { entries += 1 })
      expect(last.filter((row) => cpu[row] === id)).toHaveLength(entries)
    }
    // Between unhook and flush the others still hold what was unmapped.
    expect(last.filter((row) => VERDICTS[verdict[row]] === 'pending').length).toBeGreaterThanOrEqual(6)
    expect(last.filter((row) => VERDICTS[verdict[row]] === 'STALE')).toEqual([])
  })
})

describe('limits', () => {
  test('when there are too many looks every second one is dropped, and then only every second one taken', async () => {
    const { config, image } = await tourScenario('01-first-walk')
    const { simulation } = await simulateHere(config, image)
    const looks = new TlbLooks(4, 1_000_000)
    const taken: number[] = []
    for (let cycle = 1; cycle <= 16; cycle++) {
      if (!looks.isDue()) continue
      taken.push(cycle)
      looks.look(simulation.kernel, cycle)
    }
    expect(taken).toEqual([1, 2, 3, 4, 5, 7, 9, 13])
    const { cycles, stride } = looks.finish()
    expect([...cycles]).toEqual([1, 5, 9, 13])
    expect(stride).toBe(4)
  })

  test('writes beyond the limit are made and not remembered, and the recording says from when on', () => {
    const present = { cycle: 7, cpu: 1 }
    const memory = new RecordedMemory(new Int32Array(4096), geometryOf('x86-64'), present, 2)
    memory.store(1, 3, 0x11, 0x22)
    memory.storeLo(1, 3, 0x31)
    present.cycle = 9
    memory.store(1, 4, 0x51, 0)
    expect(memory.loadLo(1, 4)).toBe(0x51)
    const { length, cycle, columns } = memory.writes()
    expect([length, [...cycle], [...columns.lo], [...columns.hi]]).toEqual([2, [7, 7], [0x11, 0x31], [0x22, 0x22]])
    expect(memory.forgottenFrom).toBe(9)
  })

  test('zeroing a frame is remembered only when it was a table', () => {
    const memory = new RecordedMemory(new Int32Array(4096), geometryOf('x86-64'), { cycle: 1, cpu: 0 }, 100)
    memory.zeroFrame(2)
    memory.store(2, 0, 1, 0)
    memory.zeroFrame(2)
    memory.zeroFrame(2)
    expect([...memory.writes().columns.slot]).toEqual([0, -1])
  })
})
