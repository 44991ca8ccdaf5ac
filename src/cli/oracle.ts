// `npm run -s oracle -- FILE`: answers single memory accesses, one JSON line each, so that they can
// be held against the answers of real page walkers. A case names physical memory, control bits
// and one access; the answer is a physical address, #PF with its code, or #GP, and the words that
// changed. The format is that of the case files: test/data/mmu-sample.jsonl is one.
//
// Every case starts with empty TLBs. One MMU and one memory serve all cases: the words that a
// case wrote are cleared after it.

import { createReadStream, realpathSync } from 'node:fs'
import { pipeline, type Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { fileURLToPath } from 'node:url'
import { createGunzip } from 'node:zlib'
import { Command, Option } from 'commander'
import { UserError } from '../base/errors.js'
import { hexShort, parse64, type Word64 } from '../base/units.js'
import type { GeometryName, MachineConfig, TlbLevelConfig } from '../machine/config.js'
import { geometryOf, offsetInPage } from '../machine/geometry.js'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, GENERAL_PROTECTION, LINUX_CONTROLS, Mmu, mmuCounters, mmuWords, PAGE_FAULT,
} from '../machine/mmu.js'
import { allocatePhysicalMemory, PhysMem } from '../machine/phys-mem.js'
import { MACHINE_PRESETS } from '../machine/presets.js'
import { reportAndExit } from './errors.js'

/** What the case files promise: bits 40 to 51 of an entry are reserved. */
const MAX_PHYS_ADDR_BITS = 40
/** Memory below this is an array, above it a map: the tables of nearly all cases lie low. */
const ARRAY_BYTES = 64 * 2 ** 20
const PAGE_SHIFT = 12
const ACCESS_CODES: Readonly<Record<string, number>> = { r: ACCESS_READ, w: ACCESS_WRITE, x: ACCESS_EXEC }
const OUTPUT_CHUNK_CHARACTERS = 1 << 16

/** One line of a case file, checked. Flags are 0 or 1. */
interface Case {
  id: number
  la57: number
  wp: number
  smep: number
  smap: number
  pge: number
  nxe: number
  ac: number
  cpl: number
  access: number
  cr3: Word64
  va: Word64
  mem: [address: Word64, value: Word64][]
}

export interface OracleAnswer {
  id: number
  res: { ok: string } | { pf: number; cr2: string } | { gp: 0 }
  after: [address: string, value: string][]
}

/** Answers cases one after the other. */
export class Oracle {
  private readonly mem: PhysMem
  private readonly mmus: readonly [Mmu, Mmu]

  constructor(vendor: 'intel' | 'amd') {
    const words = new Int32Array(allocatePhysicalMemory(ARRAY_BYTES))
    this.mem = new PhysMem(words, geometryOf('x86-64'), { sparseBeyond: true })
    this.mmus = [this.buildMmu('x86-64', vendor), this.buildMmu('x86-64-la57', vendor)]
  }

  /** `where` goes in front of the message when the line is malformed: UserError. */
  answer(line: string, where: { file: string; line: number }): OracleAnswer {
    const c = parseCase(line, where)
    for (const [address, value] of c.mem) this.storeWord64(address, value)
    const answer = { id: c.id, res: this.access(c), after: this.changedWords(c) }
    for (const [address] of c.mem) this.storeWord64(address, { hi: 0, lo: 0 })
    this.mem.beyond?.clear()
    return answer
  }

  private access(c: Case): OracleAnswer['res'] {
    const mmu = this.mmus[c.la57 === 1 ? 1 : 0]
    const [wp, nxe, smep, smap, pge] = [c.wp === 1, c.nxe === 1, c.smep === 1, c.smap === 1, c.pge === 1]
    mmu.reset({ ...LINUX_CONTROLS, wp, nxe, smep, smap, pge })
    mmu.setAc(c.ac === 1)
    mmu.loadCr3(pfnOf(c.cr3), 0, false, c.cr3.lo & 0x18)
    const status = mmu.translate(c.va.hi | 0, c.va.lo | 0, c.access, c.cpl === 3, true)
    if (status === GENERAL_PROTECTION) return { gp: 0 }
    if (status === PAGE_FAULT) return { pf: mmu.errorCode, cr2: hexShort(c.va.hi, c.va.lo) }
    const low = (mmu.pfn << PAGE_SHIFT) | offsetInPage(mmu.geometry, c.va.lo)
    return { ok: hexShort(mmu.pfn >>> (32 - PAGE_SHIFT), low) }
  }

  /** Words that are no longer what the case put there, in its order. A word given twice started as the later. */
  private changedWords(c: Case): OracleAnswer['after'] {
    const changed: OracleAnswer['after'] = []
    c.mem.forEach(([address, value], index) => {
      const now = this.loadWord64(address)
      if (now.lo === value.lo && now.hi === value.hi) return
      const isLast = !c.mem.some((other, at) => at > index && other[0].lo === address.lo && other[0].hi === address.hi)
      if (isLast) changed.push([hexShort(address.hi, address.lo), hexShort(now.hi, now.lo)])
    })
    return changed
  }

  private storeWord64(address: Word64, value: Word64): void {
    const offset = address.lo & ((1 << PAGE_SHIFT) - 1)
    this.mem.storeWord(pfnOf(address), offset, value.lo)
    this.mem.storeWord(pfnOf(address), offset + 4, value.hi)
  }

  private loadWord64(address: Word64): Word64 {
    const offset = address.lo & ((1 << PAGE_SHIFT) - 1)
    const pfn = pfnOf(address)
    return { hi: this.mem.loadWord(pfn, offset + 4) >>> 0, lo: this.mem.loadWord(pfn, offset) >>> 0 }
  }

  private buildMmu(geometry: GeometryName, vendor: 'intel' | 'amd'): Mmu {
    const none: TlbLevelConfig = { arrays: [], base: -1, large: -1, giant: -1 }
    const machine: MachineConfig = {
      ...MACHINE_PRESETS['skl-2s']!,
      preset: 'oracle',
      geometry,
      vendor,
      maxPhysAddrBits: MAX_PHYS_ADDR_BITS,
      tlb: { l1i: none, l1d: none, stlb: none, pagingCache: { pgd: 0, p4d: 0, pud: 0, pmd: 0 } },
    }
    return new Mmu(machine, this.mem, new Int32Array(mmuWords(machine)), new Float64Array(mmuCounters()))
  }
}

function pfnOf({ hi, lo }: Word64): number {
  return ((lo >>> PAGE_SHIFT) | (hi << (32 - PAGE_SHIFT))) >>> 0
}

function parseCase(line: string, { file, line: number }: { file: string; line: number }): Case {
  const fail = (message: string): never => {
    throw new UserError(printable(message), { file, line: number, column: 1 })
  }
  let raw: Record<string, unknown>
  try {
    raw = JSON.parse(line) as Record<string, unknown>
  } catch (error) {
    return fail(`not a JSON object: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return fail('not a JSON object')
  const oneOf = (key: string, values: readonly unknown[]): number => {
    if (!values.includes(raw[key])) return fail(`"${key}" must be ${values.join(' or ')}, found ${show(raw[key])}`)
    return raw[key] as number
  }
  const flag = (key: string): number => oneOf(key, [0, 1])
  const word = (value: unknown, what: string): Word64 => {
    const parsed = typeof value === 'string' ? parse64(value) : undefined
    return parsed ?? fail(`${what} must be a 64-bit number such as "0x1000", found ${show(value)}`)
  }
  const physical = (value: unknown, what: string, alignment: number): Word64 => {
    const address = word(value, what)
    if (address.hi >= 2 ** (MAX_PHYS_ADDR_BITS - 32)) return fail(`${what} is above 2^${MAX_PHYS_ADDR_BITS}`)
    return address.lo % alignment === 0 ? address : fail(`${what} must be a multiple of ${alignment}`)
  }
  const { id, mem } = raw
  if (typeof id !== 'number') return fail(`"id" must be a number, found ${show(id)}`)
  if (!Array.isArray(mem)) return fail(`"mem" must be a list of [address, value], found ${show(mem)}`)
  oneOf('acc', Object.keys(ACCESS_CODES))
  return {
    id,
    la57: flag('la57'), wp: flag('wp'), smep: flag('smep'), smap: flag('smap'), pge: flag('pge'), nxe: flag('nxe'),
    ac: flag('ac'),
    cpl: oneOf('cpl', [0, 3]),
    access: ACCESS_CODES[raw['acc'] as string]!,
    cr3: physical(raw['cr3'], '"cr3"', 1),
    va: word(raw['va'], '"va"'),
    mem: mem.map((pair: unknown, index): [Word64, Word64] => {
      if (!Array.isArray(pair) || pair.length !== 2) return fail(`"mem"[${index}] must be [address, value]`)
      return [physical(pair[0], `"mem"[${index}] address`, 8), word(pair[1], `"mem"[${index}] value`)]
    }),
  }
}

/** JSON.parse quotes what it did not like, whatever that is. */
function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\ufffd]/g, '?')
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value)
}

/** Answers every line of `input` in order; blank lines are passed over. */
export async function answerStream(
  input: Readable, file: string, vendor: 'intel' | 'amd', write: (text: string) => Promise<void>,
): Promise<void> {
  const oracle = new Oracle(vendor)
  let line = 0
  let pending = ''
  try {
    for await (const text of linesOf(input)) {
      line++
      if (text.trim() === '') continue
      pending += `${JSON.stringify(oracle.answer(text, { file, line }))}\n`
      if (pending.length >= OUTPUT_CHUNK_CHARACTERS) {
        await write(pending)
        pending = ''
      }
    }
  } finally {
    // What was answered before a malformed line is still an answer.
    if (pending !== '') await write(pending)
  }
}

/** Leaving the loop over it early ends the stream, and whatever feeds it, in good order. */
async function* linesOf(input: Readable): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  let parts: string[] = []
  for await (const chunk of input) {
    const [first, ...others] = decoder.write(chunk as Buffer).split('\n')
    parts.push(first!)
    for (const next of others) {
      yield parts.join('')
      parts = [next]
    }
  }
  yield parts.join('') + decoder.end()
}

function openCases(file: string): Readable {
  const raw = createReadStream(file)
  if (!file.endsWith('.gz')) return raw
  // The callback has nothing to do: an error of either stream ends the loop over the lines.
  return pipeline(raw, createGunzip(), () => undefined)
}

function writeOut(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve()
      else if ('code' in error && error.code === 'EPIPE') reject(error)
      else reject(new UserError(`cannot write to standard output: ${error.message}`))
    })
  })
}

async function runOracle(file: string, { vendor }: { vendor: 'intel' | 'amd' }): Promise<void> {
  try {
    await answerStream(openCases(file), file, vendor, writeOut)
  } catch (error) {
    if (error instanceof UserError || !isUnreadable(error)) throw error
    throw new UserError(`cannot read ${file}: ${error.message}`)
  }
}

/** A missing file, a folder, no permission, or a file that is not gzip in spite of its name. */
function isUnreadable(error: unknown): error is Error {
  if (!(error instanceof Error) || !('code' in error)) return false
  return /^(ENOENT|EACCES|EISDIR|ENOTDIR|Z_[A-Z_]+)$/.test(String(error.code))
}

async function main(): Promise<void> {
  // A reader that has seen enough closes the pipe; the write that meets it rejects, which is where it is handled.
  process.stdout.on('error', () => undefined)
  const program = new Command('oracle')
    .description('answer single memory accesses as an x86-64 page walker would, one JSON line each')
    .argument('<cases>', 'case file, JSON lines; .gz is unpacked')
    .addOption(new Option('--vendor <name>', 'whose manual decides where they differ')
      .choices(['intel', 'amd']).default('intel'))
    .exitOverride()
    .action(runOracle)
  try {
    await program.parseAsync()
  } catch (error) {
    reportAndExit(error)
  }
}

const started = process.argv[1]
if (started !== undefined && realpathSync(started) === fileURLToPath(import.meta.url)) await main()
