// Turns what zod found wrong into one UserError with a place in the file: the first problem in
// the text, with up to a few others listed after it.

import type { UserError } from '../base/errors.js'
import type { z } from 'zod'
import type { Path, YamlSource } from './yaml-source.js'

type Issue = z.core.$ZodIssue

interface Problem {
  path: Path
  /** Whether the key, not its value, is what is wrong. */
  part: 'key' | 'value'
  message: string
  details: string[]
}

const OTHERS_LISTED = 4

/** The error to throw for `issues`, which must not be empty. */
export function schemaError(source: YamlSource, issues: readonly Issue[]): UserError {
  const start = (problem: Problem): number => source.span(problem.path, problem.part).start
  // An unknown key explains what is missing or wrong around it, so it goes first within its map.
  const rank = (problem: Problem): number =>
    problem.part === 'key' ? source.span(problem.path.slice(0, -1)).start - 0.5 : start(problem)
  const sorted = issues.flatMap((issue) => toProblems(source.tree, issue, [])).sort((a, b) => rank(a) - rank(b))
  // A number can break two rules that are worded as one.
  const problems = sorted.filter((problem, index) => index === 0
    || start(problem) !== start(sorted[index - 1]!) || problem.message !== sorted[index - 1]!.message)
  const first = problems[0]!
  const details = [...first.details]
  const others = problems.slice(1)
  if (others.length > 0) details.push(`and ${others.length} more ${others.length === 1 ? 'problem' : 'problems'}:`)
  for (const other of others.slice(0, OTHERS_LISTED)) {
    const { line, column } = source.source.position(start(other))
    details.push(`  ${source.source.file}:${line}:${column}: ${other.message}`)
  }
  return source.error(first.message, first.path, details, first.part)
}

function toProblems(tree: unknown, issue: Issue, base: Path): Problem[] {
  const path = [...base, ...issue.path as (string | number)[]]
  if (issue.code === 'invalid_union') {
    const branch = likelyBranch(valueAt(tree, path), issue.errors)
    if (branch) return branch.flatMap((inner) => toProblems(tree, inner, path))
  }
  const [message = 'invalid value', ...details] = issue.message.split('\n')
  if (issue.code === 'unrecognized_keys') {
    return [{ path: [...path, issue.keys[0]!], part: 'key', message, details }]
  }
  if (path.length > 0 && valueAt(tree, path) === undefined) {
    const wanted = message.replace(/, found undefined$/, '')
    const expected = details.some((detail) => detail.startsWith('expected one of')) ? details : [wanted, ...details]
    return [{ path, part: 'value', message: `the key "${path.at(-1)}" is missing`, details: expected }]
  }
  return [{ path, part: 'value', message, details }]
}

/**
 * The issues to report for a union: only a map tells which alternative was meant, so for other
 * values the message of the union itself (what all alternatives are) is the better one.
 */
function likelyBranch(value: unknown, branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    // A misspelt word of a closed set still has its nearest name to offer.
    const words = branches.flat().find((issue) => issue.code === 'invalid_value' && issue.path.length === 0
      && issue.message.includes('\n'))
    return typeof value === 'string' && words ? [words] : undefined
  }
  for (const issues of branches) {
    const accepted = !issues.some((issue) => issue.path.length === 0
      && (issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union'))
    if (accepted && issues.length > 0) return issues
  }
  return undefined
}

function valueAt(tree: unknown, path: Path): unknown {
  let value: unknown = tree
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = (value as Record<string | number, unknown>)[step]
  }
  return value
}
