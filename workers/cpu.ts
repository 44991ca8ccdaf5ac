// Entry of a simulated CPU's thread: attaches to the shared buffers and serves the windows of its
// core. What a window is: src/engine/windows.ts; how it is handed over: src/engine/threads.ts.

import { parentPort } from 'node:worker_threads'
import { expose } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { assert } from '../src/base/assert.js'
import { Core } from '../src/engine/core.js'
import type { CpuControl, RunSetup } from '../src/engine/protocol.js'
import { openSharedState, stateLayout } from '../src/engine/shared-state.js'
import { serveWindows } from '../src/engine/threads.js'
import { geometryOf } from '../src/machine/geometry.js'
import { PhysMem } from '../src/machine/phys-mem.js'

let serveLoop: (() => void) | undefined

const control: CpuControl = {
  boot(setup: RunSetup, id: number): void {
    const { machine } = setup.config
    const state = openSharedState(stateLayout(machine, setup.image), setup.state)
    const mem = new PhysMem(new Int32Array(setup.memory), geometryOf(machine.geometry))
    const core = new Core(state, id, machine, mem, setup.image)
    serveLoop = () => serveWindows(state, id, core, { randomDelayMs: setup.randomDelayMs })
  },
  serve(): void {
    assert(serveLoop !== undefined, 'serve() before boot()')
    serveLoop()
  },
}

assert(parentPort !== null, 'workers/cpu.ts runs only as a worker')
expose(control, nodeEndpoint(parentPort))
