// System calls on files: write-back and truncation.

import { ERRNO } from '../abi.js'
import { syncFile, truncateFile } from '../pages/file-ops.js'
import type { CallTable } from './syscall-call.js'

export const FILE_CALLS: CallTable = {
  *sync(k, { cpu, instruction }) {
    yield* syncFile(k, cpu, k.pageCache.files[instruction.file])
    return 0
  },

  *truncate(k, { cpu, instruction }) {
    if (instruction.bytes < 0) return -ERRNO.EINVAL
    yield* truncateFile(k, cpu, k.pageCache.files[instruction.file], instruction.bytes)
    return 0
  },
}
