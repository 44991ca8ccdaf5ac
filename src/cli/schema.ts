// `shootdown schema`: the JSON Schema of scenario files, for editors and for other checkers. The
// build writes the same to dist/scenario.schema.json, which the package exports as shootdown/schema.json.

import { Command } from 'commander'
import { writeFileAtomic } from '../base/atomic-file.js'
import { schemaFileText } from '../scenario/schema.js'

/** The sub-command, to be added to the program. */
export function schemaCommand(): Command {
  return new Command('schema')
    .description('print the JSON Schema of scenario files')
    .option('--output <file>', 'write it to a file instead of standard output')
    .addHelpText('after', `
An editor with the YAML language server completes and checks a scenario that begins with
  # yaml-language-server: $schema=<path or URL of the schema, relative to the scenario>
for example, where the package is installed, in a scenario beside node_modules:
  # yaml-language-server: $schema=node_modules/shootdown/dist/scenario.schema.json

Examples:
  shootdown schema > scenario.schema.json
  shootdown schema --output .vscode/scenario.schema.json`)
    .action(({ output }: { output?: string }) => {
      const text = schemaFileText()
      if (output === undefined) process.stdout.write(text)
      else writeFileAtomic(output, (write) => write(text))
    })
}
