// All targets, in the order of their numbers.

import { R1 } from './r01.js'
import { R2 } from './r02.js'
import { R3 } from './r03.js'
import { R4 } from './r04.js'
import { R5 } from './r05.js'
import { R6 } from './r06.js'
import { R7 } from './r07.js'
import { R8 } from './r08.js'
import { R9 } from './r09.js'
import { R10 } from './r10.js'
import { R11 } from './r11.js'
import { R12 } from './r12.js'
import { R13 } from './r13.js'
import { R14 } from './r14.js'
import { R15 } from './r15.js'
import type { Target } from './target.js'

export const TARGETS: readonly Target[] = [R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15]
