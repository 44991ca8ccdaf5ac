// Reading recorded memory traces: every format in every encoding gives the same words, and every
// way for a file to be wrong is reported with its place.

import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { loadTrace, type TraceProgress } from '../src/scenario/trace-file.js'
import {
  lackeyText, packed, temporaryFile, temporaryFolder, xzStored, type Access, type Kind,
} from './trace-fixtures.js'

const SAMPLE: readonly Access[] = [
  { kind: 'fetch', address: 0x0400_0000n, size: 3 },
  { kind: 'load', address: 0x1f_feff_e7e8n, size: 8 },
  { kind: 'store', address: 0x7fff_ffff_fff8n, size: 8 },
  { kind: 'fetch', address: 0x0400_0ffen, size: 4 },
]
const SAMPLE_RANGES = [
  '0x0000000004000000-0x0000000004002000',
  '0x0000001ffeffe000-0x0000001ffefff000',
  '0x00007ffffffff000-0x0000800000000000',
]

async function wordsOf(content: string | Uint8Array): Promise<Buffer> {
  const trace = await loadTrace(temporaryFile('trace', content))
  expect(trace.words.length).toBe(trace.records * 2)
  expect(trace.words.buffer).toBeInstanceOf(SharedArrayBuffer)
  return Buffer.from(Int32Array.from(trace.words).buffer)
}

async function rangesOf(content: string | Uint8Array): Promise<string[]> {
  const word = (value: number): string => value.toString(16).padStart(8, '0')
  const { ranges } = await loadTrace(temporaryFile('trace', content))
  return ranges.map(({ start, end }) =>
    `0x${word(start.hi)}${word(start.lo)}-0x${word(end.hi)}${word(end.lo)}`)
}

/** What the user is told, with the file's name made short. */
async function complaint(content: string | Uint8Array): Promise<string> {
  const file = temporaryFile('trace', content)
  const error: unknown = await loadTrace(file).then(() => 'no error', (reason: unknown) => reason)
  expect(error).toBeInstanceOf(UserError)
  return (error as UserError).format().replaceAll(file, 'FILE')
}

describe('a trace is the same words, whatever it is packed in', () => {
  const text = lackeyText(SAMPLE)
  const raw = packed(SAMPLE)
  const half = raw.subarray(0, 16)
  const rest = raw.subarray(16)

  test.each([
    ['lackey text', Buffer.from(text)],
    ['lackey text, gzip', gzipSync(text)],
    ['lackey text, xz', xzStored(Buffer.from(text))],
    ['lackey text with carriage returns and no last newline', Buffer.from(text.trimEnd().replaceAll('\n', '\r\n'))],
    ['packed records', raw],
    ['packed records, gzip', gzipSync(raw)],
    ['packed records, xz', xzStored(raw)],
    ['two gzip members', Buffer.concat([gzipSync(half), gzipSync(rest)])],
    ['gzip members that part in the middle of a record',
      Buffer.concat([gzipSync(raw.subarray(0, 13)), gzipSync(raw.subarray(13))])],
    ['an xz stream of two blocks', xzStored(half, rest)],
    ['two xz streams with padding between and behind',
      Buffer.concat([xzStored(half), Buffer.alloc(8), xzStored(rest), Buffer.alloc(4)])],
  ])('%s', async (_name, content) => {
    expect((await wordsOf(content)).equals(raw)).toBe(true)
    expect(await rangesOf(content)).toEqual(SAMPLE_RANGES)
  })

  test('a modify line is a load record, then a store record', async () => {
    const access = { address: 0x0421_c7ccn, size: 4 }
    const both = packed([{ kind: 'load', ...access }, { kind: 'store', ...access }])
    expect((await wordsOf(' M 0421c7cc,4\n')).equals(both)).toBe(true)
  })

  test("lines of valgrind's own are skipped", async () => {
    const noise = [
      '==4711== Lackey, an example Valgrind tool', '==4711== ', '--4711-- warning: something', '**4711** printed',
      '', 'SB 04013860',
    ].join('\n')
    expect((await wordsOf(`${noise}\n${text}${noise}\n`)).equals(raw)).toBe(true)
  })

  test('letters of an address may be large, and it may have leading zeros', async () => {
    expect((await wordsOf(' L 0000001FFEFFE7E8,8\n')).equals(packed(SAMPLE.slice(1, 2)))).toBe(true)
  })

  test('any accesses, in either format, cut into blocks anywhere', async () => {
    const access = fc.record({
      kind: fc.constantFrom<Kind>('fetch', 'load', 'store'),
      address: fc.bigInt(0n, 0x7fff_ffff_ffffn - 0x3fffn),
      size: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 0x3fff })),
    })
    await fc.assert(fc.asyncProperty(
      fc.array(access, { minLength: 1, maxLength: 60 }), fc.nat(), fc.boolean(), async (accesses, seed, asText) => {
        const expected = packed(accesses)
        const content = asText ? Buffer.from(lackeyText(accesses)) : expected
        const cut = seed % content.length
        const parts = [content.subarray(0, cut), content.subarray(cut)].filter((part) => part.length > 0)
        expect((await wordsOf(xzStored(...parts))).equals(expected)).toBe(true)
        expect(await rangesOf(content)).toEqual(naiveRanges(accesses))
      }), { numRuns: 40 })
  })

  test('a long trace outgrows every buffer on its way', async () => {
    const accesses = Array.from({ length: 200_000 }, (_, index): Access => ({
      kind: index % 3 === 0 ? 'fetch' : 'load', address: BigInt(index) * 4099n, size: 1 + index % 64,
    }))
    const expected = packed(accesses)
    expect((await wordsOf(gzipSync(expected))).equals(expected)).toBe(true)
    expect((await wordsOf(gzipSync(lackeyText(accesses)))).equals(expected)).toBe(true)
    expect(await rangesOf(expected)).toEqual(naiveRanges(accesses))
  })

  test('progress tells how much of the file has been read', async () => {
    const file = temporaryFile('trace', raw)
    const seen: TraceProgress[] = []
    await loadTrace(file, (progress) => seen.push(progress))
    expect(seen.at(-1)).toEqual({ file, records: SAMPLE.length, readBytes: raw.length, fileBytes: raw.length })
  })

  test('a pipe is as good as a file', async () => {
    const pipe = join(temporaryFolder(), 'pipe')
    execFileSync('mkfifo', [pipe])
    const writer = spawn(process.execPath, ['-e',
      `require('fs').writeFileSync(${JSON.stringify(pipe)}, Buffer.from('${raw.toString('hex')}', 'hex'))`])
    const trace = await loadTrace(pipe)
    expect(trace.records).toBe(SAMPLE.length)
    writer.kill()
  })
})

describe('what is wrong with a file is said with its place', () => {
  const raw = packed(SAMPLE)
  const zipped = gzipSync(packed([...SAMPLE, ...SAMPLE]))
  const stored = xzStored(raw)
  const damaged = Buffer.from(stored)
  damaged[30]! ^= 1

  test('a file that is not there, and a directory', async () => {
    const directory = temporaryFolder()
    await expect(loadTrace(join(directory, 'none'))).rejects.toThrow('none: no such file')
    await expect(loadTrace(join(temporaryFile('file', 'x'), 'none'))).rejects.toThrow('none: no such file')
    await expect(loadTrace(directory)).rejects.toThrow('is a directory; expected a trace file')
  })

  test.each([
    ['an empty file', Buffer.alloc(0), 'FILE: the file is empty'],
    ['nothing in a gzip file', gzipSync(''), 'FILE: the trace has no records'],
    ["nothing but valgrind's own lines", Buffer.from('==1== hello\n'), 'FILE: the trace has no records'],
    ['a truncated gzip stream', zipped.subarray(0, zipped.length - 9), 'FILE: the gzip stream is truncated'],
    ['a gzip stream followed by junk', Buffer.concat([zipped, Buffer.from('junk')]),
      'FILE: the gzip stream is damaged (incorrect header check)'],
    ['a truncated xz stream', stored.subarray(0, stored.length - 5), 'FILE: the xz stream is truncated'],
    ['an xz header alone', stored.subarray(0, 12), 'FILE: the xz stream is truncated'],
    ['a damaged xz stream', damaged, 'FILE: the xz stream is damaged'],
    ['an xz stream followed by junk', Buffer.concat([stored, Buffer.from('junk, and more of it')]),
      'FILE: the xz stream is damaged: something else follows the compressed data'],
    ['a last record of three bytes', raw.subarray(0, raw.length - 5),
      'FILE: the trace is truncated: 3 bytes behind record 3\n'
      + 'packed records are 8 bytes each; the length is 27 bytes'],
  ])('%s', async (_name, content, expected) => {
    expect(await complaint(content)).toBe(expected)
  })

  test('a size of 0, an access type of 3 and a kernel address name the record', async () => {
    const bad = (address: bigint, size: number, kind: bigint): Buffer => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64LE((kind << 62n) | (BigInt(size) << 48n) | address)
      return Buffer.concat([raw, bytes])
    }
    const opening = 'FILE: not a memory trace, or a damaged one: record 5: '
    const closing = '\nexpected valgrind lackey text or packed 8-byte records, plain, gzip or xz'
    expect(await complaint(bad(0x1000n, 0, 1n)))
      .toBe(`${opening}size 0 at address 0x0000000000001000; expected 1 to 16383 bytes${closing}`)
    expect(await complaint(bad(0x1000n, 1, 3n)))
      .toBe(`${opening}access type 3; expected 0 (fetch), 1 (load) or 2 (store)${closing}`)
    expect(await complaint(bad(0x8000_0000_0000n, 1, 1n))).toContain(
      'address 0x0000800000000000, 1 bytes, is outside the user range, which ends at 0x0000800000000000')
    expect(await complaint(bad(0x7fff_ffff_ffffn, 2, 1n))).toContain('address 0x00007fffffffffff, 2 bytes, is outside')
    const long = Buffer.concat(Array.from({ length: 50 }, () => raw))
    expect(await complaint(Buffer.concat([long, bad(0n, 0, 0n)]))).toMatch(/^FILE: record 205: size 0/)
  })

  test('binary junk is not a trace', async () => {
    expect(await complaint(Buffer.alloc(4096, 0xff))).toMatch(/^FILE: not a memory trace.*record 1: access type 3/)
    expect(await complaint(Buffer.alloc(4096))).toMatch(/^FILE: not a memory trace.*record 1: size 0/)
  })

  test('text that is not a trace says what was expected', async () => {
    expect(await complaint(`# A heading\n\n${'and text\n'.repeat(20)}`)).toBe([
      'FILE:1:1: not a lackey line', '  # A heading', '  ^',
      'expected "I  ADDRESS,SIZE", " L ADDRESS,SIZE", " S ADDRESS,SIZE" or " M ADDRESS,SIZE"',
    ].join('\n'))
  })

  test.each([
    [' L 04zz,8', 6, 'expected a comma and a size behind the address'],
    [' L ,8', 4, 'expected a hexadecimal address'],
    [' L 0400,', 9, 'expected a size in bytes'],
    [' L 0400,0', 9, 'the size must be 1 to 16383 bytes'],
    [' S 0400,16384', 9, 'the size must be 1 to 16383 bytes'],
    [' S 0400,99999999999999999999', 9, 'the size must be 1 to 16383 bytes'],
    ['I  0400,8 x', 10, 'expected the end of the line behind the size'],
    ['I  800000000000,1', 4, 'the access is outside the user range, which ends at 0x0000800000000000'],
    ['I  7fffffffffff,2', 4, 'the access is outside the user range, which ends at 0x0000800000000000'],
    ['I  10000000000000000,1', 4, 'the access is outside the user range, which ends at 0x0000800000000000'],
    ['I 0400,8', 1, 'not a lackey line'],
    ['L 0400,8', 1, 'not a lackey line'],
    [' X 0400,8', 1, 'not a lackey line'],
  ])('the line "%s"', async (line, column, message) => {
    const lines = (await complaint(`==1== hello\n${lackeyText(SAMPLE)}${line}\nI  0400,1\n`)).split('\n')
    expect(lines[0]).toBe(`FILE:6:${column}: ${message}`)
    expect(lines.slice(1, 3)).toEqual([`  ${line}`, `  ${' '.repeat(column - 1)}^`])
  })

  test('a trace that is cut in the middle of its last line', async () => {
    expect(await complaint(`${lackeyText(SAMPLE)} L 04`)).toMatch(/^FILE:5:6: expected a comma/)
  })

  test('a wrong trace does not keep the next one from being unpacked', async () => {
    await complaint(xzStored(Buffer.from('I  0400,0\n'), Buffer.alloc(200_000, 'I  0400,1\n')))
    expect(await wordsOf(xzStored(raw))).toHaveLength(raw.length)
  })
})

function naiveRanges(accesses: readonly Access[]): string[] {
  const pages = new Set<bigint>()
  for (const { address, size } of accesses) {
    for (let page = address >> 12n; page <= (address + BigInt(size) - 1n) >> 12n; page++) pages.add(page)
  }
  const hex = (page: bigint): string => `0x${(page << 12n).toString(16).padStart(16, '0')}`
  const sorted = [...pages].sort((a, b) => (a < b ? -1 : 1))
  const starts = sorted.filter((page) => !pages.has(page - 1n))
  const ends = sorted.filter((page) => !pages.has(page + 1n))
  return starts.map((start, index) => `${hex(start)}-${hex(ends[index]! + 1n)}`)
}
