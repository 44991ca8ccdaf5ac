// A folder on a disk without a free byte: a small tmpfs, filled. Only root can mount one; elsewhere tests that
// need it are skipped, and say so.

import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

const FILL = '.fill'
const PIECE = Buffer.alloc(4096, 1)

function mountSmall(folder: string): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]).status === 0
}

function unmount(folder: string): void {
  spawnSync('umount', ['-l', folder])
  rmSync(folder, { recursive: true, force: true })
}

export const HAS_FULL_DISK = ((): boolean => {
  const folder = mkdtempSync(join(tmpdir(), 'shootdown-full-'))
  const isMounted = mountSmall(folder)
  unmount(folder)
  if (!isMounted) process.stderr.write('skipped: tests of a full disk (they need root to mount a tmpfs)\n')
  return isMounted
})()

/** The folder, with these files in it and the rest of the disk used up by `.fill`. */
export function fullDisk(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'shootdown-full-'))
  mountSmall(folder)
  onTestFinished(() => unmount(folder))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  const fill = openSync(join(folder, FILL), 'w')
  try {
    for (;;) writeSync(fill, PIECE)
  } catch {
    // Now it is full.
  } finally {
    closeSync(fill)
  }
  return folder
}
