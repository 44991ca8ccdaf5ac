// Completion scripts, pressed in the shells themselves. bash is everywhere; zsh and fish are tried where
// they are installed.

import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { POLICY_NAMES } from '../src/kernel/policies.js'
import { COMPLETION_SCRIPTS } from '../src/cli/completion-scripts.js'
import { describeCommands } from '../src/cli/completion.js'
import { SUB_COMMANDS, loadAll } from '../src/cli/commands.js'
import { ROOT, temporaryFolder } from './support/cli.js'

const isInstalled = (shell: string): boolean => {
  try {
    execFileSync(shell, ['-c', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const program = await loadAll()
const commands = describeCommands(program)
const scriptOf = {
  bash: COMPLETION_SCRIPTS.bash(commands),
  zsh: COMPLETION_SCRIPTS.zsh(commands),
  fish: COMPLETION_SCRIPTS.fish(commands),
}

/** The words of a command line and what Tab gives after them. */
const PRESSES: readonly (readonly [line: readonly string[], expected: readonly string[]])[] = [
  [['re'], ['replay', 'replay-sched', 'reproduce']],
  [['run', '--engine', ''], ['inline', 'reference', 'threads']],
  [['run', '--policy', 'l'], POLICY_NAMES.filter(name => name.startsWith('l')).toSorted()],
  [['explain', '--geometry', 'i386'], ['i386', 'i386-pae']],
  [['explore', '--bugs', 'h12'], ['h12-pae-top-entry-without-full-flush']],
  [['dump', '--im'], ['--image']],
  [['dump', 'docs/determ'], ['docs/determinism.md']],
  [['run', '--trace', 'README'], ['README.md']],
  [['run', '--seed', ''], []],
  [['completion', ''], ['bash', 'fish', 'zsh']],
  [['help', 'expla'], ['explain']],
]

describe('what the scripts are made from', () => {
  test('knows every command, all options of its help, and which are files', () => {
    expect(commands.map(({ name }) => name)).toEqual([...Object.keys(SUB_COMMANDS), 'help'])
    for (const { name, options } of commands.filter(one => one.name !== 'help')) {
      let help = ''
      program.commands.find(command => command.name() === name)!
        .configureOutput({ writeOut: (piece) => { help += piece } }).outputHelp()
      const shown = Array.from(help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm), ([, option]) => option)
      expect(options.map(({ long }) => long)).toEqual(shown)
    }
    const run = commands.find(({ name }) => name === 'run')!
    expect(run.options.filter(({ isFile }) => isFile).map(({ long }) => long)).toContain('--trace')
    expect(run.takesFiles).toBe(true)
  })
})

describe('in bash', () => {
  /** COMP_WORDS as bash splits them: "=" is a word of its own. */
  const press = (words: readonly string[]): string[] => {
    const body = 'words=("$@"); COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1)); _shootdown; '
      + 'for word in "${COMPREPLY[@]}"; do echo "$word"; done'
    const script = `${scriptOf.bash}\n${body}`
    return execFileSync('bash', ['-c', script, 'bash', 'shootdown', ...words], { cwd: ROOT, encoding: 'utf8' })
      .split('\n').filter(word => word !== '').toSorted()
  }

  test.each(PRESSES)('%j gives %j', (line, expected) => {
    expect(press(line)).toEqual(expected)
  })

  test('a value may follow "="', () => {
    expect(press(['run', '--engine', '=', 'in'])).toEqual(['inline'])
    expect(press(['run', '--engine', '='])).toEqual(['inline', 'reference', 'threads'])
  })
})

describe.skipIf(!isInstalled('fish'))('in fish (skipped where it is not installed)', () => {
  test.each(PRESSES)('%j gives %j', (line, expected) => {
    const folder = temporaryFolder({ 'shootdown.fish': scriptOf.fish })
    const typed = ['shootdown', ...line].join(' ')
    const script = `source ${folder}/shootdown.fish; complete -C ${JSON.stringify(typed)}`
    const found = execFileSync('fish', ['--no-config', '-c', script], { cwd: ROOT, encoding: 'utf8' })
      .split('\n').map(one => one.split('\t')[0]!).filter(word => word !== '')
    // fish also offers what only contains the letters.
    const typedWord = line.at(-1)!
    expect(found.filter(word => word.startsWith(typedWord)).toSorted()).toEqual(expected)
  })
})

describe.skipIf(!isInstalled('zsh'))('in zsh (skipped where it is not installed)', () => {
  /** What a terminal shows when Tab lists the choices. */
  const screen = (typed: string): string => {
    const folder = temporaryFolder({ '_shootdown': scriptOf.zsh, 'press.zsh': ZSH_PRESS })
    return execFileSync('zsh', ['-f', `${folder}/press.zsh`, folder, typed], {
      cwd: ROOT, encoding: 'utf8', timeout: 20_000,
    })
  }

  test.each([
    ['shootdown ', Object.keys(SUB_COMMANDS)],
    ['shootdown run --engine ', ['inline', 'reference', 'threads']],
    ['shootdown completion ', ['bash', 'fish', 'zsh']],
  ])('"%s" lists %j', (typed, expected) => {
    const shown = screen(typed)
    expect(expected.filter(word => !shown.includes(word))).toEqual([])
  })
})

/** Types into an interactive zsh on a pseudo-terminal, and prints what it shows until the choices have appeared. */
const ZSH_PRESS = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w z "bindkey '^I' list-choices; LISTMAX=0; echo REA''DY"
while zpty -r z line; do [[ $line == *READY* ]] && break; done
zpty -w -n z "$2"$'\\t'
sleep 1
zpty -w z $'\\003'
zpty -w z "echo THE''END"
while zpty -r z line; do print -r -- "$line"; [[ $line == *THEEND* ]] && break; done
`
