// What goes where: data to stdout, words for people to stderr.

/** Resolves when it is written; rejects where the reader is gone. */
export async function write(stream: NodeJS.WriteStream, text: string | Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()))
  })
}

export async function print(line: string): Promise<void> {
  await write(process.stdout, `${line}\n`)
}

export async function printJSON(value: unknown): Promise<void> {
  await print(JSON.stringify(value, undefined, 2))
}

/** Words for people. Nobody waits for them. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Columns as wide as what is in them, two spaces apart. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ''))))
  const cell = (text: string, column: number) => text + ' '.repeat((widths[column] ?? 0) - width(text))
  return all.map((row) => row.map(cell).join('  ').trimEnd()).join('\n')
}

function width(text: string): number {
  return Array.from(text).length
}

/** Whether an error says that the reader of stdout is gone, as with `| head`. */
export function isClosedPipe(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'EPIPE'
}

/** Text from a sandbox's owner or guest, for a terminal: control characters would move its cursor. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd')
}

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
