// Scenarios of the tour, loaded as the commands load them.

import { join } from 'node:path'
import { loadScenario } from '../../src/scenario/parse.js'
import type { Scenario } from '../../src/scenario/scenario.js'
import { loadTrace } from '../../src/scenario/trace-file.js'
import { EVENT_VOCABULARY } from '../../src/trace/vocabulary.js'
import { ROOT } from './cli.js'

/** `tourScenario('02-shootdown')`. */
export function tourScenario(name: string): Promise<Scenario> {
  return loadScenario(join(ROOT, 'scenarios/tour', `${name}.yaml`), { events: EVENT_VOCABULARY }, loadTrace)
}
