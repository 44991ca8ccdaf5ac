// The help: grouped commands, and for each command examples whose options and files exist.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Command } from 'commander'
import { loadAll, SUB_COMMANDS } from '../src/cli/commands.js'
import { ROOT, shootdown } from './support/cli.js'

const program = await loadAll()
const NAMES = Object.keys(SUB_COMMANDS)

interface Example {
  command: string
  options: string[]
  files: string[]
}

/** Lines below "Examples:" that call the command, without the remark after two spaces. */
function examplesOf(help: string): Example[] {
  const [, shown = ''] = help.split('\nExamples:\n')
  return Array.from(shown.matchAll(/\bshootdown ([a-z-]+)((?: [^\s"|>)]+)*)/g), ([, command, rest]) => {
    const words = rest!.split(' ').filter(word => word !== '')
    return {
      command: command!, options: words.filter(word => word.startsWith('--')),
      files: words.filter(word => /^(scenarios|test|docs)\//.test(word)).map(word => word.replace(/:\d+$/, '')),
    }
  })
}

/** What `shootdown NAME --help` prints. */
function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({ writeOut: (piece) => { text += piece } }).outputHelp()
  return text
}

function optionsOf(command: Command): string[] {
  return command.options.flatMap(({ long }) => long ?? [])
}

describe('the help', () => {
  test('shows every command in its group, with examples and exit codes', async () => {
    const { code, stdout } = await shootdown(['help'])
    expect(code).toBe(0)
    const groups = [...new Set(Object.values(SUB_COMMANDS).map(({ group }) => group))]
    expect(Array.from(stdout.matchAll(/^(\S.*:)\n {2}[a-z]/gm), ([, title]) => title)).toEqual(
      expect.arrayContaining(groups))
    for (const name of NAMES) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
    expect(examplesOf(stdout).length).toBeGreaterThan(2)
  })

  test('of a command is the same however it is asked for', async () => {
    const [help, option] = await Promise.all([shootdown(['help', 'diff']), shootdown(['diff', '--help'])])
    expect(help).toEqual(option)
    expect(help.stdout).toMatch(/^Usage: shootdown diff /)
  })

  test.each(NAMES)('%s has examples that use its own options and files that exist', (name) => {
    const examples = examplesOf(helpOf(program.commands.find(one => one.name() === name)!))
    expect(examples.filter(({ command }) => command === name)).not.toEqual([])
    for (const { command, options, files } of examples) {
      const described = program.commands.find(one => one.name() === command)
      expect(described?.name()).toBe(command)
      expect(options.filter(option => !optionsOf(described!).includes(option))).toEqual([])
      expect(files.filter(file => !file.includes('*') && !existsSync(join(ROOT, file)))).toEqual([])
    }
  })

  test('says the same about a command as the list of commands', () => {
    expect(program.commands.map(command => command.description()))
      .toEqual(Object.values(SUB_COMMANDS).map(({ description }) => description))
  })

  test('an unknown command gets a suggestion and exit code 2', async () => {
    const { code, stderr } = await shootdown(['explian', 'x'])
    expect(code).toBe(2)
    expect(stderr).toContain('Did you mean explain?')
  })
})
