// The command after `--`. Several words are a program and its arguments, as they are; a single word with a space, or with
// a character that means something to a shell, is a shell command.
import type { CommandLine } from '@lelantos-ai/sdk'
import { usage } from './options.ts'

/** What stands before and after the first `--` of the commands that take one. */
export function splitRemote(argv: readonly string[]): { own: string[]; remote: string[] | undefined } {
  const at = argv.indexOf('--')
  const command = argv.find((word) => !word.startsWith('-'))
  if (at < 0 || (command !== 'exec' && command !== 'run')) return { own: [...argv], remote: undefined }
  return { own: argv.slice(0, at), remote: argv.slice(at + 1) }
}

/** Text is run by `/bin/bash -l -c`, a list as a program with its arguments. */
export function commandLine(words: readonly string[]): CommandLine | undefined {
  const [program, ...args] = words
  if (program === undefined || program === '') return undefined
  if (args.length === 0 && /[\s;|&$<>()`*?~'"\\{}#!]/.test(program)) return program
  return [program, ...args]
}

export function needLine(line: CommandLine | undefined, example: string): CommandLine {
  if (line !== undefined) return line
  throw usage(`write the command to run after --: ${example}`)
}
