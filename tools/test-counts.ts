// How many tests passed, failed and were skipped, from what vitest and `go test` write for programs. A file that cannot be
// loaded, a package that does not build and a runner that breaks count as a failure each: they hide tests.

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export const none: Counts = { passed: 0, failed: 0, skipped: 0 }

export function add(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped }
}

export function summary({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`
}

interface VitestReport {
  readonly testResults: readonly {
    readonly status: string
    readonly assertionResults: readonly { readonly status: string }[]
  }[]
}

/** Counts vitest's JSON report. */
export function countVitest(report: string, exitCode: number): Counts {
  let counts = none
  try {
    for (const file of (JSON.parse(report) as VitestReport).testResults) {
      for (const { status } of file.assertionResults) counts = add(counts, countOf(status))
      const explained = file.assertionResults.some(({ status }) => status === 'failed')
      if (file.status === 'failed' && !explained) counts = add(counts, { ...none, failed: 1 })
    }
  } catch {
    return { ...none, failed: 1 }
  }
  return honest(counts, exitCode)
}

function countOf(status: string): Counts {
  if (status === 'passed') return { ...none, passed: 1 }
  if (status === 'failed') return { ...none, failed: 1 }
  return { ...none, skipped: 1 } // pending, skipped, todo
}

interface GoEvent {
  readonly Action: string
  readonly Package?: string
  readonly ImportPath?: string
  readonly Test?: string
  readonly Output?: string
}

/** Counts the events of `go test -json`, and gathers what the failed ones printed. A test with parts counts by its parts. */
export function countGo(events: string, exitCode: number): { counts: Counts; failures: string } {
  const ended = new Map<string, { event: GoEvent; name: string }>()
  const printed = new Map<string, string>()
  for (const line of events.split('\n')) {
    if (!line.startsWith('{')) continue
    const event = JSON.parse(line) as GoEvent
    const name = `${event.Package ?? event.ImportPath ?? ''} ${event.Test ?? ''}`
    if (event.Output !== undefined) printed.set(name, (printed.get(name) ?? '') + event.Output)
    if (['pass', 'fail', 'skip', 'build-fail'].includes(event.Action)) ended.set(name, { event, name })
  }
  const names = [...ended.keys()]
  let counts = none
  let failures = ''
  for (const { event, name } of ended.values()) {
    const failed = event.Action === 'fail' || event.Action === 'build-fail'
    if (failed) failures += printed.get(name) ?? ''
    if (event.Test === undefined) {
      const explained = names.some(
        (other) => other !== name && other.startsWith(name) && isFailure(ended.get(other)?.event),
      )
      if (event.Action === 'fail' && !explained) counts = add(counts, { ...none, failed: 1 })
      continue
    }
    if (names.some((other) => other.startsWith(`${name}/`))) continue
    counts = add(counts, countOf(failed ? 'failed' : event.Action === 'pass' ? 'passed' : 'skipped'))
  }
  return { counts: honest(counts, exitCode), failures }
}

function isFailure(event: GoEvent | undefined): boolean {
  return event?.Action === 'fail'
}

/** A runner that ends badly although no test failed has met an error outside of them. */
function honest(counts: Counts, exitCode: number): Counts {
  return exitCode !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
}
