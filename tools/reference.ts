// The reference page of errors and states, from the contract's tables. The text is what the formatter would make of it.
import {
  errors,
  isTransition,
  moves,
  publicState,
  type State,
  states,
  transitionDeadlineMs,
} from '@lelantos-ai/contract'

/** The text of `docs/reference/errors.md`. */
export function errorsPage(): string {
  const codes = Object.entries(errors).map(([code, { status, means }]) => [`\`${code}\``, String(status), means])
  const rows = states.map((state) => [`\`${state}\``, `\`${publicState[state]}\``, onward(state), longest(state)])
  return (
    [
      '<!-- Generated from packages/contract by `npm run generate`. Do not edit: change the contract. -->',
      '# Errors and states',
      'Every error has a body of JSON: `code` is the HTTP status as a number, `error` the word below, `message` says what was wrong, and `requestId` finds the request in the log.',
      table(['Error', 'Status', 'Meaning'], codes),
      'A sandbox moves by this table and in no other way. The API shows the second column as `state`; a transition that takes longer than the last column is settled by the server.',
      table(['State', 'Shown as', 'Then', 'At most'], rows),
      '',
    ]
      .join('\n\n')
      .trimEnd() + '\n'
  )
}

function onward(state: State): string {
  const next = new Set<State>()
  for (const { from, to } of Object.values(moves))
    if ((from as readonly State[]).includes(state) && to !== state) next.add(to)
  return next.size === 0 ? 'the end' : [...next].map((to) => `\`${to}\``).join(', ')
}

function longest(state: State): string {
  return isTransition(state) ? `${transitionDeadlineMs[state] / 1000} s` : ''
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
