// Traces as files: read piece by piece, however large; whatever is no trace is told by its first bytes.

import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { EVENT } from '../src/trace/events.js'
import { perfettoChunks } from '../src/trace/perfetto.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { formatTextTrace } from '../src/trace/text.js'
import { readTextTrace } from '../src/trace/text-file.js'
import { temporaryFolder } from './support/cli.js'

const HEADER = { scenario: 'files', era: 'linux-6.x', cpus: 4, seed: 7, frequencyGhz: 2.5 } as const

/** About 70 bytes for each event. */
function traceOf(events: number, comm = 'writer'): string {
  const recorder = new TraceRecorder()
  const id = recorder.intern(comm)
  for (let i = 0; i < events; i++) recorder.record(EVENT.pageFaultUser, i, i % 4, 101, id, 0, 0x7f00, i * 4096, 0, 4, 6)
  return formatTextTrace(recorder.finish(), HEADER)
}

/** The message for this content, with `F` for the path. */
function messageOf(content: string | Uint8Array): string {
  const path = join(temporaryFolder({ f: content }), 'f')
  return errorOf(path).replaceAll(path, 'F')
}

function errorOf(path: string): string {
  try {
    readTextTrace(path)
  } catch (error) {
    if (error instanceof UserError) return error.format()
    throw error
  }
  return 'no error'
}

describe('a trace of several megabytes', () => {
  test.each([
    ['in ASCII', 'writer'], ['with names in UTF-8, cut anywhere by the pieces it is read in', 'schreibär-写'],
  ])('%s is read as it was written', (_name, comm) => {
    const text = traceOf(40_000, comm)
    expect(text.length).toBeGreaterThan(2 << 20)
    const path = join(temporaryFolder({ f: text }), 'f')
    const { data, header, firstLine } = readTextTrace(path)
    expect({ header, firstLine }).toEqual({ header: HEADER, firstLine: 8 })
    expect(formatTextTrace(data, header) === text).toBe(true)
  })

  test('tells a mistake far from its beginning with the line', () => {
    const lines = traceOf(40_000).split('\n')
    lines[39_000] = lines[39_000]!.replace('address', 'adress')
    expect(messageOf(lines.join('\n'))).toMatch(/^F:39001:\d+: expected "address=" of page_fault_user, found "adress=/)
  })
})

test('a long golden, packed with brotli, is read as it is', () => {
  const text = traceOf(3000)
  const packed = brotliCompressSync(text)
  const folder = temporaryFolder({ 'a.golden.br': packed, 'cut.golden.br': packed.subarray(0, 200) })
  const { data, header } = readTextTrace(join(folder, 'a.golden.br'))
  expect(formatTextTrace(data, header)).toBe(text)
  const cut = join(folder, 'cut.golden.br')
  expect(errorOf(cut)).toBe(`${cut}:1:1: this is not packed with brotli, or it is cut off`)
})

describe('what is no trace is told at its place', () => {
  const good = traceOf(20)
  const lines = good.split('\n')
  const swapped = [...lines.slice(0, 10), lines[11], lines[10], ...lines.slice(12)].join('\n')
  const perfetto = Buffer.concat([...perfettoChunks(new TraceRecorder().finish(), HEADER)])

  test.each<readonly [string, string | Uint8Array, string | RegExp]>([
    ['cut in a line', good.slice(0, -7), 'F:27:1: the last line is cut off: the file is not complete'],
    ['cut in the header', good.slice(0, 40), 'F:3:1: the last line is cut off: the file is not complete'],
    ['cut behind the first line', `${lines[0]}\n`,
      'F:2:1: the header names no kernel era: expected one of linux-4.6, linux-6.x'],
    ['two lines in the other order', swapped, 'F:12:1: out of order: cycle 3 of cpu3 comes after cycle 4 of cpu0'],
    ['an older version', good.replace('v1', 'v0'), /^F:1:1: this trace has format version 0, .* reads version 1\n/],
    ['a newer version', good.replace('v1', 'v2'), /^F:1:1: this trace has format version 2, .* reads version 1\n/],
    ['with the line ends of Windows', good.replaceAll('\n', '\r\n'), /^F:1:1: .*line ends/],
    ['in UTF-16', Buffer.from(good, 'utf16le'), 'F:1:1: this is a binary file, not a trace'],
    ['empty', '', 'F:1:1: this is an empty file, not a trace'],
    ['without a line end', 'hello', 'F:1:1: this is not a trace: expected "# shootdown trace v1", found "hello"'],
    ['binary', new Uint8Array([1, 0, 2, 10]), 'F:1:1: this is a binary file, not a trace'],
    ['binary without a zero', new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 200, 201]),
      'F:1:1: this is not a trace: expected "# shootdown trace v1", found "?ELF??"'],
    ['packed', gzipSync(good),
      'F:1:1: this is packed with gzip, not the text of a trace\nunpack it first: zcat F > out.trace'],
    ['packed with brotli', brotliCompressSync(good), /^F:1:1: this is /],
    ['a Perfetto export', perfetto, /^F:1:1: this is (not a trace: expected|a binary file)/],
    ['one endless line', 'x'.repeat(3 << 20), 'F:1:1: this is not a trace: a line is longer than 1048576 bytes'],
    ['a number that no record holds', good.replace('errorCode=0x6', 'errorCode=0x600000000'),
      /^F:8:\d+: errorCode: expected a hexadecimal number, found "0x600000000"$/],
  ])('%s', (_name, content, message) => {
    if (typeof message === 'string') expect(messageOf(content)).toBe(message)
    else expect(messageOf(content)).toMatch(message)
  })

  test('a whole number that is too large for a record', () => {
    const flush = '         121 [000] writer-101 tlb_flush pages=3 reason=TLB_REMOTE_SEND_IPI\n'
    const head = `${lines.slice(0, 6).join('\n')}\n`
    expect(messageOf(head + flush)).toBe('no error')
    expect(messageOf(head + flush.replace('=3', '=-2147483648'))).toBe('no error')
    for (const value of ['2147483648', '-2147483649', '99999999999999999999']) {
      expect(messageOf(head + flush.replace('=3', `=${value}`)))
        .toBe(`F:7:47: pages: expected a whole number, found "${value}"`)
    }
  })

  test('larger than a string can be, and no trace behind its first megabyte', () => {
    const folder = temporaryFolder({ f: traceOf(30_000) })
    const path = join(folder, 'f')
    const descriptor = openSync(path, 'r+')
    // A hole: takes no space on the disk.
    ftruncateSync(descriptor, 700 << 20)
    closeSync(descriptor)
    expect(errorOf(path)).toBe(`${path}:30008:1: this is not a trace: a line is longer than 1048576 bytes`)
  })
})

describe('what is no file', () => {
  test.each([
    ['a directory', 'folder', 'this is a directory, not a trace'],
    ['nothing', 'none', 'cannot read the trace: there is no such file'],
    ['a file in the place of a folder', 'file/a', 'cannot read the trace: a part of the path is not a folder'],
    ['a link to itself', 'loop', 'cannot read the trace: its symbolic links lead in a circle'],
    ['a device', 'zero', 'this is neither a file nor a pipe'],
  ])('%s', (_name, name, message) => {
    const folder = temporaryFolder({ file: '' })
    mkdirSync(join(folder, 'folder'))
    symlinkSync('loop', join(folder, 'loop'))
    symlinkSync('/dev/zero', join(folder, 'zero'))
    expect(errorOf(join(folder, name))).toBe(`${join(folder, name)}:1:1: ${message}`)
  })

  test('reading leaves the file as it was', () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'f'), traceOf(10))
    readTextTrace(join(folder, 'f'))
    expect(readFileSync(join(folder, 'f'), 'utf8')).toBe(traceOf(10))
  })
})
