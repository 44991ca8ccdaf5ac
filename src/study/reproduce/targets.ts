// All targets, in the order of published-costs: how solid their numbers are.

import { R1 } from './r01.js'
import { R11 } from './r11.js'
import { R13 } from './r13.js'
import type { Target } from './target.js'

export const TARGETS: readonly Target[] = [R1, R11, R13]
