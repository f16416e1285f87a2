/** One thing that `doctor` looked at. */
export interface Finding {
  /** What was looked at: `memory`. */
  readonly what: string
  /** `missing` keeps sandboxes from running, `warning` does not. */
  readonly state: 'ok' | 'missing' | 'warning'
  /** What was found, in one line. */
  readonly why: string
  /** The command that gets it, where one does. */
  readonly fix?: string
}

export const ok = (what: string, why: string): Finding => ({ what, state: 'ok', why })

export const missing = (what: string, why: string, fix?: string): Finding => ({
  what,
  state: 'missing',
  why,
  ...(fix === undefined ? {} : { fix }),
})

export const warning = (what: string, why: string, fix?: string): Finding => ({
  what,
  state: 'warning',
  why,
  ...(fix === undefined ? {} : { fix }),
})
