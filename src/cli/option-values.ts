// Values that a completion script offers for an option whose values are not a closed list of commander's
// (comma-separated lists, names with suggestions, a number or a word).

import type { Option } from 'commander'

const VALUES = new WeakMap<Option, readonly string[]>()

/** Has these values offered after `option`. Returns the option. */
export function withValues(option: Option, values: readonly string[]): Option {
  VALUES.set(option, values)
  return option
}

/** What completion offers after an option; empty when anything may stand there. */
export function valuesOf(option: Option): readonly string[] {
  return option.argChoices ?? VALUES.get(option) ?? []
}
