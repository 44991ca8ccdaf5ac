// Entry of the scheduler's thread: boots the kernel and runs the simulation to its end while the
// main thread stays free for signals, progress and workers that die.

import { parentPort, type MessagePort } from 'node:worker_threads'
import { expose, transfer } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { assert } from '../src/base/assert.js'
import type { RunSetup, SchedulerControl } from '../src/engine/protocol.js'
import type { RunResult } from '../src/engine/result.js'
import { resultBuffers, runThreaded } from '../src/engine/scheduler-loop.js'

const control: SchedulerControl = {
  run(setup: RunSetup, wanted: MessagePort): RunResult {
    const result = runThreaded(setup, worker => wanted.postMessage(worker))
    wanted.close()
    return transfer(result, resultBuffers(result))
  },
}

assert(parentPort !== null, 'workers/scheduler.ts runs only as a worker')
expose(control, nodeEndpoint(parentPort))
