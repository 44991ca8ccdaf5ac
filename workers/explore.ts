// Tasks of a pool thread: runs of one scenario under perturbed timing (src/study/explore.ts) or in chosen
// orders (src/study/exhaust.ts).

import { runOrders } from '../src/study/exhaust.js'
import type { OrderOutcome, OrderTask } from '../src/study/exhaust.js'
import { runSeeds } from '../src/study/explore.js'
import type { ExploreOutcome, ExploreTask } from '../src/study/explore.js'

export default function explore(task: ExploreTask): Promise<ExploreOutcome> {
  return runSeeds(task)
}

export function orders(task: OrderTask): Promise<OrderOutcome> {
  return runOrders(task)
}
