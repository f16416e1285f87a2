// `lelantos doctor`: findings for people, or as JSON. Exit code 1 when something is missing.
import { readConfig } from '../config.ts'
import { diagnose } from './diagnose.ts'
import type { Finding } from './finding.ts'

const SIGN = { ok: 'ok     ', missing: 'MISSING', warning: 'warning' } as const

/** The command. Resolves with its exit code. */
export async function doctor(flags: { readonly json?: boolean }): Promise<number> {
  const show = (finding: Finding): void => {
    process.stdout.write(`${SIGN[finding.state]}  ${finding.what.padEnd(22)}  ${finding.why}\n`)
    if (finding.fix !== undefined && finding.state !== 'ok')
      process.stdout.write(`${' '.repeat(33)}-> ${finding.fix}\n`)
  }
  const findings = await diagnose(readConfig(), flags.json === true ? () => {} : show)
  if (flags.json === true) process.stdout.write(`${JSON.stringify(findings, undefined, 2)}\n`)
  return findings.some(({ state }) => state === 'missing') ? 1 : 0
}
