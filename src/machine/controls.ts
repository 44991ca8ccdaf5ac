// The mode of a CPU as far as its MMU asks: control bits, kinds of access, outcomes, and the masks
// that say which restriction of a page stops which access. The masks are computed when a bit
// changes, so that an access decides with one mask and compare.

import type { Geometry } from './geometry.js'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE,
  CONTROL_AC, CONTROL_NXE, CONTROL_PCIDE, CONTROL_PGE, CONTROL_PSE, CONTROL_SMAP, CONTROL_SMEP, CONTROL_WP,
  RESTRICT_CLEAN, RESTRICT_NX, RESTRICT_READ_ONLY, RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, WORD_CONTROLS, WORD_DENY,
} from './mmu-layout.js'

export { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE } from './mmu-layout.js'

// Status of an access.
export const TRANSLATED = 0
/** The access would set an A or D bit, and the caller said that it may not. */
export const NEEDS_WRITE = 1
export const PAGE_FAULT = 2
export const GENERAL_PROTECTION = 3

export type AccessKind = typeof ACCESS_READ | typeof ACCESS_WRITE | typeof ACCESS_EXEC

// Page-fault error code (SDM vol. 3, 4.7).
export const FAULT_PRESENT = 1 << 0
export const FAULT_WRITE = 1 << 1
export const FAULT_USER = 1 << 2
export const FAULT_RESERVED = 1 << 3
export const FAULT_FETCH = 1 << 4

/** CR0, CR4 and EFER bits. `pse` matters only to 32-bit paging without PAE. */
export interface Controls {
  wp: boolean
  nxe: boolean
  smep: boolean
  smap: boolean
  pge: boolean
  pse: boolean
  pcide: boolean
}

/** What Linux sets at boot; `pcide` is off unless the kernel model asks for it. */
export const LINUX_CONTROLS: Controls = {
  wp: true, nxe: true, smep: true, smap: true, pge: true, pse: true, pcide: false,
}

// INVPCID types.
export const INVPCID_ADDRESS = 0
export const INVPCID_SINGLE = 1
export const INVPCID_ALL_GLOBAL = 2
export const INVPCID_ALL = 3

/** The CONTROL_* word. PCIDE exists only in long mode, and NXE says nothing to entries of four bytes. */
export function controlBits(c: Controls, g: Geometry): number {
  return (c.wp ? CONTROL_WP : 0) | (c.nxe && g.entryBytes === 8 ? CONTROL_NXE : 0) | (c.smep ? CONTROL_SMEP : 0) |
    (c.smap ? CONTROL_SMAP : 0) | (c.pge ? CONTROL_PGE : 0) | (c.pse ? CONTROL_PSE : 0) |
    (c.pcide && g.canonical ? CONTROL_PCIDE : 0)
}

/**
 * Which restrictions stop which access (SDM vol. 3, 4.6.1), from the CONTROL_* word into the six mask words. A clean
 * page stops every write, to set D.
 */
export function computeDenyMasks(words: Int32Array): void {
  const controls = words[WORD_CONTROLS]!
  const smap = (controls & (CONTROL_SMAP | CONTROL_AC)) === CONTROL_SMAP ? RESTRICT_USER_PAGE : 0
  const smep = (controls & CONTROL_SMEP) !== 0 ? RESTRICT_USER_PAGE : 0
  const readOnly = (controls & CONTROL_WP) !== 0 ? RESTRICT_READ_ONLY : 0
  const deny = (access: AccessKind, kernelMask: number, userMask: number): void => {
    words[WORD_DENY + access * 2] = kernelMask
    words[WORD_DENY + access * 2 + 1] = userMask
  }
  deny(ACCESS_READ, smap, RESTRICT_SUPERVISOR)
  deny(ACCESS_WRITE, readOnly | RESTRICT_CLEAN | smap, RESTRICT_SUPERVISOR | RESTRICT_READ_ONLY | RESTRICT_CLEAN)
  deny(ACCESS_EXEC, RESTRICT_NX | smep, RESTRICT_SUPERVISOR | RESTRICT_NX)
}

/** The bits of an error code that say what the access was. A fetch is told only with NXE (where NX exists) or SMEP. */
export function accessCode(words: Int32Array, access: number, user: boolean): number {
  const mode = user ? FAULT_USER : 0
  if (access === ACCESS_WRITE) return mode | FAULT_WRITE
  const tellsFetches = (words[WORD_CONTROLS]! & (CONTROL_NXE | CONTROL_SMEP)) !== 0
  return access === ACCESS_EXEC && tellsFetches ? mode | FAULT_FETCH : mode
}
