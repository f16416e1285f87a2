/** What people are told of an error: its message and those of its causes, in one line, nothing said twice. */
export function failureLine(error: unknown): string {
  const said: string[] = []
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { message } = cause
    // Many messages are made with that of their cause in them.
    if (!said.some((before) => before.includes(message))) said.push(message)
  }
  return said.join(': ') || String(error)
}
