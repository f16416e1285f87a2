// Times as people say them: `3 min ago`, `in 2 h`.

const units = [
  { name: 'd', seconds: 86_400 },
  { name: 'h', seconds: 3600 },
  { name: 'min', seconds: 60 },
  { name: 's', seconds: 1 },
] as const

/** The largest unit that there are two of, give or take a hundredth, so that nothing is off by half. */
export function duration(seconds: number): string {
  const rounded = Math.round(Math.abs(seconds))
  const unit = units.find((candidate) => rounded * 1.01 >= 2 * candidate.seconds) ?? { name: 's', seconds: 1 }
  return `${Math.round(rounded / unit.seconds)} ${unit.name}`
}

export function relative(time: string | null, now = Date.now()): string {
  if (time === null) return 'never'
  const seconds = (Date.parse(time) - now) / 1000
  if (Number.isNaN(seconds)) return time
  if (Math.abs(seconds) < 1) return 'now'
  return seconds < 0 ? `${duration(seconds)} ago` : `in ${duration(seconds)}`
}
