// The TLBs of a replay as a person types them: the name of a preset, or `l1i=64/8,l1d=64/4,
// stlb=1536/12` (entries/ways). Entries alone mean fully associative. A level that is not
// mentioned keeps its default.

import { UserError } from '../base/errors.js'
import type { TlbArrayConfig, TlbConfig, TlbLevelConfig } from '../machine/config.js'
import { TLB_PRESETS } from '../machine/presets.js'
import { suggestionLines } from '../scenario/suggest.js'

/** Geometry G1 of the reference trace. */
export const DEFAULT_TLB_TEXT = 'l1i=64/8,l1d=64/4,stlb=1536/12'
const LEVEL_NAMES = ['l1i', 'l1d', 'stlb'] as const
type LevelName = (typeof LEVEL_NAMES)[number]
const ENTRIES_MAX = 1 << 20

/** Throws UserError that names the bad part. */
export function parseTlbOption(text: string): TlbConfig {
  if (!text.includes('=')) return presetOf(text)
  return geometryFrom({ ...parseParts(DEFAULT_TLB_TEXT), ...parseParts(text) })
}

type Parts = Partial<Record<LevelName, TlbArrayConfig>>

function presetOf(name: string): TlbConfig {
  if (Object.hasOwn(TLB_PRESETS, name)) return TLB_PRESETS[name]!
  throw new UserError(`--tlb: no preset is named "${name}"`, undefined,
    [...suggestionLines(name, Object.keys(TLB_PRESETS)), `or entries/ways, such as ${DEFAULT_TLB_TEXT}`])
}

function parseParts(text: string): Parts {
  const parts: Parts = {}
  for (const part of text.split(',')) {
    const equals = part.indexOf('=')
    const name = part.slice(0, Math.max(equals, 0)).trim().toLowerCase()
    const level = LEVEL_NAMES.find((known) => known === name)
    if (!level) throw badPart(part, `expected ${LEVEL_NAMES.join('=, ')}=`)
    if (parts[level]) throw badPart(part, `${level} is given twice`)
    parts[level] = parseArray(part, part.slice(equals + 1).trim())
  }
  return parts
}

function parseArray(part: string, text: string): TlbArrayConfig {
  const match = /^(\d{1,9})(?:\/(\d{1,9}))?$/.exec(text)
  if (!match) throw badPart(part, 'expected entries/ways, such as 64/8, or entries alone for fully associative')
  const entries = Number(match[1])
  const ways = match[2] === undefined ? entries : Number(match[2])
  if (entries < 1 || entries > ENTRIES_MAX) throw badPart(part, `entries must be 1 to ${ENTRIES_MAX}`)
  if (ways < 1 || ways > entries) throw badPart(part, `ways must be 1 to the number of entries, ${entries}`)
  if (entries % ways !== 0) throw badPart(part, `ways must divide entries: ${entries} is not a multiple of ${ways}`)
  return { entries, ways }
}

function geometryFrom(parts: Parts): TlbConfig {
  return {
    l1i: levelOf(parts.l1i!), l1d: levelOf(parts.l1d!), stlb: levelOf(parts.stlb!),
    pagingCache: { pgd: 0, p4d: 0, pud: 0, pmd: 0 },
  }
}

/** One array for base and large pages, each by its own page number. */
function levelOf(array: TlbArrayConfig): TlbLevelConfig {
  return { arrays: [array], base: 0, large: 0, giant: -1 }
}

function badPart(part: string, expected: string): UserError {
  return new UserError(`--tlb: "${part}": ${expected}`)
}
