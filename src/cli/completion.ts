// `shootdown completion SHELL`: a completion script made from what commander knows about the commands, so
// that it can never say something else than `--help`. The scripts are completion-scripts.ts.

import { Argument, Command, type Option } from 'commander'
import { COMPLETION_SCRIPTS, SHELLS } from './completion-scripts.js'
import type { CompletedCommand, CompletedOption, ShellName } from './completion-scripts.js'
import { valuesOf } from './option-values.js'

/** The sub-command; `loadAll` gives the program with all its commands. */
export function completionCommand(loadAll: () => Promise<Command>): Command {
  return new Command('completion')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText('after', `
The script completes commands, options, their values, and files. It does not start node.

Examples:
  eval "$(shootdown completion bash)"                                    in ~/.bashrc
  eval "$(shootdown completion zsh)"                                     in ~/.zshrc, after compinit
  shootdown completion fish > ~/.config/fish/completions/shootdown.fish`)
    .action(async (shell: ShellName) => {
      process.stdout.write(COMPLETION_SCRIPTS[shell](describeCommands(await loadAll())))
    })
}

/** What the scripts need to know about a program. */
export function describeCommands(program: Command): CompletedCommand[] {
  const help = program.createHelp()
  const commands = help.visibleCommands(program)
  const names = commands.map((command) => command.name())
  return commands.map((command) => {
    const choices = command.name() === 'help' ? names : command.registeredArguments.flatMap(one => one.argChoices ?? [])
    return {
      name: command.name(),
      description: command.description(),
      options: help.visibleOptions(command).map(describeOption),
      values: choices,
      // Every argument that is not a closed list names a file.
      takesFiles: choices.length === 0 && command.registeredArguments.length > 0,
    }
  })
}

function describeOption(option: Option): CompletedOption {
  return {
    long: option.long ?? '', short: option.short ?? '',
    description: option.description,
    takesValue: option.required || option.optional,
    placeholder: /[<[]([^>\].]+)/.exec(option.flags)?.[1] ?? '',
    values: valuesOf(option),
    isFile: /[<[](file|folder|path|trace)/.test(option.flags),
    mayRepeat: Array.isArray(option.defaultValue),
  }
}
