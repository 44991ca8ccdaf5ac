// Running the command without the rights of root, who may read and write everything: tests of permissions
// mean nothing else. Where that cannot be done they are skipped, and say so.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { ROOT } from './cli.js'

const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] as const
const IS_ROOT = process.getuid?.() === 0

/** What runs the command as somebody without rights: nothing in between when we have none. */
export const AS_NOBODY: readonly string[] = IS_ROOT ? NOBODY : []

/** Can the command be run so? A checkout in a folder that only root may enter cannot. */
export const CAN_BE_NOBODY = !IS_ROOT
  || spawnSync(NOBODY[0], [...NOBODY.slice(1), process.execPath, join(ROOT, 'dist/src/cli/main.js'), '--version'])
    .status === 0
if (!CAN_BE_NOBODY) process.stderr.write('skipped: tests of permissions (they need setpriv and a readable checkout)\n')
