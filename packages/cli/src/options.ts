// How arguments are read. A refusal names the option, what it got and what it wants.
import { exitCodes, Failure } from './exit.ts'

/** `K=V`, gathered over repetitions of the option. */
export function pairs(option: string): (text: string, before?: Record<string, string>) => Record<string, string> {
  return (text, before = {}) => {
    const at = text.indexOf('=')
    if (at < 1) throw usage(`${option} must be NAME=VALUE, got ${JSON.stringify(text)}`)
    return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
  }
}

const SECONDS_IN: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds, or a number with s, m, h or d. */
export function seconds(option: string): (text: string) => number {
  return (text) => {
    const [, number, unit = ''] = /^(\d+)([smhd]?)$/.exec(text) ?? []
    if (number === undefined) {
      throw usage(`${option} must be seconds (or 10m, 2h, 1d; 0 never expires), got ${JSON.stringify(text)}`)
    }
    return Number(number) * (SECONDS_IN[unit] ?? 1)
  }
}

export function whole(option: string, minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (!/^\d+$/.test(text) || number < minimum || number > maximum) {
      throw usage(`${option} must be a whole number from ${minimum} to ${maximum}, got ${JSON.stringify(text)}`)
    }
    return number
  }
}

export function usage(message: string): Failure {
  return new Failure(exitCodes.usage, message)
}
