/** What goes on, on stderr, once it has taken a second; gone when it is done. Only where stderr is a terminal. */
export async function progress<T>(label: string | (() => string), work: Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return await work
  const started = Date.now()
  let shown = false
  const timer = setInterval(() => {
    shown = true
    const text = typeof label === 'string' ? label : label()
    process.stderr.write(`\r\u001b[2K${text}… ${Math.round((Date.now() - started) / 1000)} s`)
  }, 1000)
  try {
    return await work
  } finally {
    clearInterval(timer)
    if (shown) process.stderr.write('\r\u001b[2K')
  }
}
