// protoc, an independent decoder of protobuf (Debian: protobuf-compiler). Tests that need it run where it is
// found and say that they were skipped where it is not.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../data', import.meta.url))

export const HAS_PROTOC = spawnSync('protoc', ['--version']).status === 0
if (!HAS_PROTOC) process.stderr.write('skipped: tests that need protoc (Debian package protobuf-compiler)\n')

/** What `protoc --decode` prints for these bytes. */
export function decodeWithProtoc(file: string, type: string, bytes: Uint8Array): string {
  const { status, stdout, stderr } = spawnSync('protoc', [`--proto_path=${FOLDER}`, `--decode=${type}`, file],
    { input: bytes, maxBuffer: 1 << 28 })
  if (status !== 0) throw new Error(`protoc: ${stderr.toString()}`)
  return stdout.toString()
}
