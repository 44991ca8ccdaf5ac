// Small traces made by hand, in every encoding that the simulator reads. The xz container is
// written here with stored (uncompressed) LZMA2 chunks, so that no test depends on a program
// of the host. Layout: the .xz file format, version 1.1.0.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll } from 'vitest'

export type Kind = 'fetch' | 'load' | 'store'

export interface Access {
  kind: Kind
  address: bigint
  size: number
}

const KIND_NUMBER: Record<Kind, bigint> = { fetch: 0n, load: 1n, store: 2n }
const KIND_LINE: Record<Kind, string> = { fetch: 'I  ', load: ' L ', store: ' S ' }
const STORED_CHUNK_BYTES_MAX = 1 << 16

export function packed(accesses: readonly Access[]): Buffer {
  const bytes = Buffer.alloc(accesses.length * 8)
  accesses.forEach(({ kind, address, size }, index) => {
    bytes.writeBigUInt64LE((KIND_NUMBER[kind] << 62n) | (BigInt(size) << 48n) | address, index * 8)
  })
  return bytes
}

export function lackeyText(accesses: readonly Access[]): string {
  return accesses.map(({ kind, address, size }) =>
    `${KIND_LINE[kind]}${address.toString(16).padStart(8, '0')},${size}\n`).join('')
}

const folders: string[] = []
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

/** A fresh folder in the host's temporary directory, removed when the tests of a file are over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'shootdown-trace-'))
  folders.push(folder)
  return folder
}

/** A file in a folder of its own. */
export function temporaryFile(name: string, content: string | Uint8Array): string {
  const file = join(temporaryFolder(), name)
  writeFileSync(file, content)
  return file
}

/** One xz stream of the given blocks. */
export function xzStored(...blocks: Uint8Array[]): Buffer {
  const flags = Buffer.of(0, 1) // CRC32
  const packedBlocks = blocks.map(xzBlock)
  const records = packedBlocks.flatMap(({ unpaddedBytes }, index) =>
    [...variableInteger(unpaddedBytes), ...variableInteger(blocks[index]!.length)])
  const index = withCrc(padded(Buffer.from([0, ...variableInteger(blocks.length), ...records])))
  const backward = Buffer.alloc(4)
  backward.writeUInt32LE(index.length / 4 - 1)
  return Buffer.concat([
    Buffer.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), flags, crcOf(flags),
    ...packedBlocks.map(({ bytes }) => bytes), index,
    crcOf(Buffer.concat([backward, flags])), backward, flags, Buffer.from('YZ'),
  ])
}

function xzBlock(content: Uint8Array): { bytes: Buffer, unpaddedBytes: number } {
  // Header of 12 bytes: size, no flags, filter LZMA2 with one property byte (dictionary of 1 MiB), padding, CRC32.
  const header = withCrc(Buffer.of(2, 0, 0x21, 1, 16, 0, 0, 0))
  const chunks: Buffer[] = []
  for (let start = 0; start < content.length; start += STORED_CHUNK_BYTES_MAX) {
    const chunk = content.subarray(start, start + STORED_CHUNK_BYTES_MAX)
    const control = Buffer.of(start === 0 ? 1 : 2, 0, 0)
    control.writeUInt16BE(chunk.length - 1, 1)
    chunks.push(control, Buffer.from(chunk))
  }
  const data = Buffer.concat([...chunks, Buffer.of(0)])
  const bytes = Buffer.concat([header, padded(data), crcOf(content)])
  return { bytes, unpaddedBytes: header.length + data.length + 4 }
}

function variableInteger(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...variableInteger(value >>> 7)]
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)])
}

function crcOf(bytes: Uint8Array): Buffer {
  const result = Buffer.alloc(4)
  result.writeUInt32LE(crc32(bytes))
  return result
}

function withCrc(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, crcOf(bytes)])
}
