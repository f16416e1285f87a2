// How a command ended, as one number: its exit code, or 128 and the signal's number, as a shell would say. The daemon
// names a signal in words (`signal: killed`).

const signals: Readonly<Record<string, number>> = {
  hangup: 1,
  interrupt: 2,
  quit: 3,
  'illegal instruction': 4,
  'trace/breakpoint trap': 5,
  aborted: 6,
  'bus error': 7,
  'floating point exception': 8,
  killed: 9,
  'user defined signal 1': 10,
  'segmentation fault': 11,
  'user defined signal 2': 12,
  'broken pipe': 13,
  'alarm clock': 14,
  terminated: 15,
}

export interface EndEvent {
  readonly exitCode?: unknown
  readonly exited?: unknown
  readonly status?: unknown
}

/** JSON leaves out what is 0, false or empty. */
export function exitCodeOf(end: EndEvent): number {
  const code = typeof end.exitCode === 'number' ? end.exitCode : 0
  const status = typeof end.status === 'string' ? end.status : ''
  const word = /^signal: ([^(]+?)(?: \(core dumped\))?$/.exec(status)?.[1]
  if (code >= 0 && word === undefined) return code
  if (code > 128) return code
  if (word === undefined) return 255
  const number = signals[word] ?? Number(/^signal (\d+)$/.exec(word)?.[1] ?? Number.NaN)
  return Number.isNaN(number) ? 255 : 128 + number
}
