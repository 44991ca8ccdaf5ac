// Completion scripts for three shells, from one description of the commands. Each is a plain function of
// the description: nothing is asked of the program when somebody presses Tab.

export interface CompletedOption {
  /** `--engine`. */
  long: string
  /** `-h`, or empty. */
  short: string
  description: string
  takesValue: boolean
  /** The word in angle brackets. */
  placeholder: string
  /** What may stand after it; empty when anything may. */
  values: readonly string[]
  isFile: boolean
  mayRepeat: boolean
}

export interface CompletedCommand {
  name: string
  description: string
  options: readonly CompletedOption[]
  /** A closed list of values for its argument. */
  values: readonly string[]
  /** Its arguments name files. */
  takesFiles: boolean
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type ShellName = (typeof SHELLS)[number]

export const COMPLETION_SCRIPTS: Readonly<Record<ShellName, (commands: readonly CompletedCommand[]) => string>> = {
  bash: bashScript, zsh: zshScript, fish: fishScript,
}

// ---- bash: words are split at "=" and ":" as well, so that "--engine=in" is three words ----

function bashScript(commands: readonly CompletedCommand[]): string {
  return `# bash completion of shootdown
_shootdown() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= words= word i
  COMPREPLY=()
  if [[ $cur == '=' ]]; then cur=
  elif [[ $prev == '=' ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      -*) ;;
      *) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $command:$prev in
${commands.flatMap((command) => command.options.filter(({ takesValue }) => takesValue)
    .map((option) => `    ${bashPattern(command, option)}) ${bashValues(option)}; return ;;`)).join('\n')}
  esac
  if [[ -z $command ]]; then
    words='${commands.map(({ name }) => name).join(' ')} --help --version'
  elif [[ $cur == -* ]]; then
    case $command in
${commands.map((command) => `      ${command.name}) words='${longOptions(command)}' ;;`).join('\n')}
    esac
  else
    case $command in
${commands.map((command) => `      ${command.name}) ${bashArguments(command)} ;;`).join('\n')}
    esac
  fi
  _shootdown_words "$words" "$cur"
}
_shootdown_words() {
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -W "$1" -- "$2"))
}
_shootdown_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -- "$1"))
}
complete -F _shootdown shootdown
`
}

function longOptions({ options }: CompletedCommand): string {
  return options.map(({ long }) => long).join(' ')
}

function bashPattern({ name }: CompletedCommand, { long, short }: CompletedOption): string {
  return [long, short].filter(flag => flag !== '').map(flag => `${name}:${flag}`).join('|')
}

function bashValues({ values, isFile }: CompletedOption): string {
  if (values.length > 0) return `_shootdown_words '${values.join(' ')}' "$cur"`
  return isFile ? '_shootdown_files "$cur"' : ':'
}

function bashArguments({ values, takesFiles }: CompletedCommand): string {
  if (values.length > 0) return `words='${values.join(' ')}'`
  return takesFiles ? '_shootdown_files "$cur"; return' : ':'
}

// ---- zsh ----

function zshScript(commands: readonly CompletedCommand[]): string {
  return `#compdef shootdown
# zsh completion of shootdown
_shootdown() {
  local context state state_descr line
  typeset -A opt_args
  local -a commands=(
${commands.map(({ name, description }) => `    ${quoted(`${name}:${description}`)}`).join('\n')}
  )
  _arguments -C '(- *)'{-h,--help}'[show this help]' '(- *)'{-V,--version}'[show the version]' \\
    '1:command:->command' '*::argument:->arguments'
  case $state in
    command) _describe -t commands 'shootdown command' commands ;;
    arguments)
      case $words[1] in
${commands.map(zshCommand).join('\n')}
      esac ;;
  esac
}
if [ "$funcstack[1]" = _shootdown ]; then _shootdown "$@"; else compdef _shootdown shootdown; fi
`
}

function zshCommand({ name, options, values, takesFiles }: CompletedCommand): string {
  const specs = options.map(zshOption)
  if (values.length > 0) specs.push(quoted(`1:${name === 'help' ? 'command' : 'value'}:(${values.join(' ')})`))
  else if (takesFiles) specs.push(quoted('*:file:_files'))
  return `        ${name}) _arguments ${specs.join(' \\\n          ')} ;;`
}

function zshOption(option: CompletedOption): string {
  const { long, short, description, takesValue, placeholder, values, isFile, mayRepeat } = option
  const explained = `[${description.replace(/[[\]\\]/g, '\\$&')}]`
  const what = placeholder.replaceAll(':', ' ')
  const action = values.length > 0 ? `(${values.join(' ')})` : isFile ? '_files' : ' '
  const value = takesValue ? `:${what}:${action}` : ''
  if (short !== '') return `'(${short} ${long})'{${short},${long}${takesValue ? '=' : ''}}${quoted(explained + value)}`
  return quoted(`${mayRepeat ? '*' : ''}${long}${takesValue ? '=' : ''}${explained}${value}`)
}

// ---- fish ----

function fishScript(commands: readonly CompletedCommand[]): string {
  const names = commands.map(({ name }) => name).join(' ')
  const none = `-n 'not __fish_seen_subcommand_from ${names}'`
  return [
    '# fish completion of shootdown',
    'complete -c shootdown -f',
    `complete -c shootdown ${none} -s h -l help -d 'show this help'`,
    `complete -c shootdown ${none} -s V -l version -d 'show the version'`,
    ...commands.map(({ name, description }) =>
      `complete -c shootdown ${none} -a ${name} -d ${fishQuoted(description)}`),
    ...commands.flatMap(fishCommand),
    '',
  ].join('\n')
}

function fishCommand({ name, options, values, takesFiles }: CompletedCommand): string[] {
  const here = `complete -c shootdown -n '__fish_seen_subcommand_from ${name}'`
  return [
    ...(takesFiles ? [`${here} -F`] : []),
    ...(values.length > 0 ? [`${here} -a '${values.join(' ')}'`] : []),
    ...options.map(({ long, short, description, takesValue, values: choices, isFile }) => {
      const value = !takesValue ? '' : choices.length > 0 ? ` -x -a '${choices.join(' ')}'` : isFile ? ' -r -F' : ' -x'
      const letter = short === '' ? '' : ` -s ${short.slice(1)}`
      return `${here}${letter} -l ${long.slice(2)}${value} -d ${fishQuoted(description)}`
    }),
  ]
}

/** In single quotes of bash and zsh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** In single quotes of fish, where a backslash is one only before a quote or itself. */
function fishQuoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}
