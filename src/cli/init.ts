// `shootdown init [FOLDER]`: a first scenario, its golden trace and a workflow of GitHub Actions in somebody's
// repository. What is there already is left as it is.

import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { Cluster } from '../engine/cluster.js'
import { readGolden } from '../study/golden-file.js'
import { runGolden } from '../study/golden-run.js'
import { FIRST_SCENARIO, SCENARIO_FILE, workflow, WORKFLOW_FILE } from './init-files.js'
import { toolVersion } from './version.js'

/** The sub-command, to be added to the program. */
export function initCommand(): Command {
  return new Command('init')
    .description('write a first scenario, its golden trace and a CI workflow into a repository')
    .argument('[folder]', 'the root of the repository', '.')
    .addHelpText('after', `
Writes ${SCENARIO_FILE}, its golden trace and ${WORKFLOW_FILE}. Nothing that exists is changed.

Examples:
  npx shootdown init             in the root of your repository
  npx shootdown init && npx shootdown test`)
    .action(init)
}

async function init(folder: string): Promise<void> {
  const stat = statSync(folder, { throwIfNoEntry: false })
  if (stat === undefined) throw new UserError(`there is no folder "${folder}"`)
  if (!stat.isDirectory()) throw new UserError(`"${folder}" is not a folder`)
  const scenario = join(folder, SCENARIO_FILE)
  const guard = workflow(toolVersion(), isDependency(folder))
  const wrote = [
    writeNew(scenario, FIRST_SCENARIO, 'a first scenario'),
    await writeGoldenOf(scenario),
    writeNew(join(folder, WORKFLOW_FILE), guard, 'compares all traces on every push'),
  ]
  if (!wrote.includes(true)) {
    process.stdout.write('\nnothing to do\n')
    return
  }
  process.stdout.write(`
Next, in ${folder === '.' ? 'this folder' : folder}:
  npx shootdown run ${SCENARIO_FILE}    what happens in it
  npx shootdown test                                  what the workflow will run
and commit the files.
`)
}

/** True: it was written. */
function writeNew(path: string, text: string, what: string): boolean {
  if (existsSync(path)) {
    process.stdout.write(`is there  ${path}, left as it is\n`)
    return false
  }
  try {
    mkdirSync(dirname(path), { recursive: true })
  } catch (error) {
    throw new UserError(`cannot create the folder "${dirname(path)}": ${(error as NodeJS.ErrnoException).code}`)
  }
  writeFileAtomic(path, write => write(text))
  process.stdout.write(`wrote     ${path}: ${what}\n`)
  return true
}

/** The golden of whatever scenario stands there; a wrong one is told and none is written. */
async function writeGoldenOf(scenario: string): Promise<boolean> {
  const golden = readGolden(scenario)
  if (golden !== undefined) {
    process.stdout.write(`is there  ${golden.path}, left as it is\n`)
    return false
  }
  const { message, events, position, wrote } = await runGolden({
    file: scenario, engine: 'inline', check: false, mode: 'compare', mustExist: false, limit: 1,
  }, new Cluster())
  if (wrote === '') throw new UserError(message, position)
  process.stdout.write(`wrote     ${wrote}: its golden trace, ${events} events\n`)
  return true
}

/** Does the repository name this package among its own? Then its lock file says which version. */
function isDependency(folder: string): boolean {
  try {
    const { dependencies = {}, devDependencies = {} } = JSON.parse(
      readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, Record<string, string> | undefined>
    return 'shootdown' in { ...dependencies, ...devDependencies }
  } catch {
    // None, or none that can be read: npx does without.
    return false
  }
}
