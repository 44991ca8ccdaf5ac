// What a program says of the next window of its CPU: how long it takes at least until the program goes to
// the kernel. A matter of speed only: nobody runs past an event that is likely to be for all, and windows
// that are short by this are not handed to a worker.

import type { Instruction, ProgramImage } from '../kernel/abi.js'
import { REG_PC, REG_PROGRAM } from '../kernel/sched/task.js'
import type { MachineConfig } from '../machine/config.js'
import { CORE_POSITION } from './shared-state.js'
import type { SharedState } from './shared-state.js'

/** Instructions that are looked at: a program that goes on longer without the kernel may well go on for ever. */
const INSTRUCTIONS = 8
/** System calls that write nothing that other cores can see. */
const UNSEEN: ReadonlySet<Instruction['op']> = new Set([
  'wait', 'sleep', 'wake', 'barrier', 'mark', 'yield', 'setaffinity', 'nice', 'irqsOff',
])

export class LookAhead {
  /**
   * Cycles until the program of this CPU makes a system call or moves data, if all accesses hit and none faults;
   * Infinity: there is no saying.
   */
  cycles = Infinity
  /** May others see what it does then? */
  isSeen = false
  readonly #programs: ProgramImage['programs']
  readonly #accessCycles: number
  readonly #doubles: Float64Array
  readonly #words: Int32Array

  constructor({ layout, buffer }: SharedState, id: number, machine: MachineConfig, image: ProgramImage) {
    this.#programs = image.programs
    this.#accessCycles = machine.costs.access
    this.#doubles = layout.view(buffer, 'core', 'doubles', id)
    this.#words = layout.view(buffer, 'core', 'words', id)
  }

  /** Looks at the program from where the core stands. Loops are taken to go round once more. */
  look(): void {
    const { code } = this.#programs[this.#words[REG_PROGRAM]]
    let pc = this.#words[REG_PC]
    let done = this.#doubles[CORE_POSITION]
    let cycles = 0
    for (let looked = 0; looked < INSTRUCTIONS; looked++) {
      const instruction = code[pc]
      switch (instruction.op) {
        case 'touch':
          // One pass over an area, which may be of any size.
          if (instruction.count === 0) return this.#cannotSay()
          cycles += (instruction.count - done) * this.#accessCycles
          break
        case 'replay':
          cycles += (instruction.count - done / 2) * this.#accessCycles
          break
        case 'compute':
          cycles += instruction.cycles - done
          break
        case 'loop':
          break
        case 'end':
          pc = instruction.loop
          break
        case 'spin':
          return this.#cannotSay()
        default:
          this.cycles = cycles
          this.isSeen = !UNSEEN.has(instruction.op)
          return
      }
      done = 0
      pc += 1
    }
    this.#cannotSay()
  }

  #cannotSay(): void {
    this.cycles = Infinity
    this.isSeen = false
  }
}
