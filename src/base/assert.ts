// Programmer errors: the only place that throws them. A failed assertion means that the
// simulator itself is wrong, never that the user's input is (see errors.ts for that).

/** Thrown by {@link assert}; the command line reports it with exit code 3. */
export class AssertionError extends Error {
  override name = 'AssertionError'
}

/** A run broke an invariant: an AssertionError whose message starts with the number of the invariant (`I8: ...`). */
export class InvariantViolation extends AssertionError {
  override name = 'InvariantViolation'

  /** `I8`. */
  get invariant(): string {
    return /^I\d+/.exec(this.message)?.[0] ?? ''
  }
}

/**
 * Stops the run when `condition` does not hold. A message that names values is put together whether it is needed
 * or not: where that would happen once a simulated step, write `if (!condition) fail(...)`.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** Stops the run. `message` names the values involved. */
export function fail(message: string): never {
  throw new AssertionError(message)
}

/** Marks the end of an exhaustive `switch`: does not type-check while a case is missing. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`)
}
