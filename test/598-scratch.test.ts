import { test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { dumpAll } from '../src/inspect/dump.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, image, mmap, program, signal, sleep, spin, touch, wait, dontneed } from './support/programs.js'
test('x', async () => {
  const img = image([{ threads: [
    { comm: 'reader', cpus: [0], program: program('a', mmap(0, 3), touch(area(0), 'write'), mmap(1, 512, { huge: true }), touch(area(1,0,1), 'write'), fork(0, 'kid', [1]), signal(0), dontneed(area(0, 0, 1)), compute(1000000)) },
    { comm: 'other', cpus: [1], program: program('b', spin(0), touch(area(0), 'read'), sleep(0)) },
  ] }], { children: [program('kid', touch(area(0,1,1), 'write'), sleep(0))] })
  for (const [g, era] of [['x86-64','linux-6.x'],['i386','linux-6.x'],['x86-64','linux-4.6']] as const) {
  const { simulation } = await simulateHere(testConfig({ geometry: g }, { era, pcid: era==='linux-6.x' && g==='x86-64' }), img, { untilCycle: Number(process.env.AT ?? 30000), check: true })
  console.log(simulation.end, simulation.cycle, '\n' + dumpAll(simulation.kernel))
  }
})
