// Figures: what was measured, over how many runs, and beside what.

export interface Spread {
  readonly median: number
  readonly minimum: number
  readonly maximum: number
  readonly runs: number
}

export interface Figure {
  readonly name: string
  readonly unit: 'ms' | 'MB' | 'count'
  readonly measured: Spread
  /** The bare engine, or the direct way, in the same run. */
  readonly beside?: { readonly name: string; readonly measured: Spread; readonly ratio: number; readonly goal: number }
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const at = (index: number) => sorted[index] ?? Number.NaN
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2
  return { median, minimum: at(0), maximum: at(sorted.length - 1), runs: sorted.length }
}

/** Two ways of the same thing, taken in turns so that a busy moment of the machine meets both alike. */
export function against(
  name: string,
  unit: Figure['unit'],
  values: readonly number[],
  other: { name: string; values: readonly number[]; goal: number },
): Figure {
  const measured = spread(values)
  const beside = spread(other.values)
  return {
    name,
    unit,
    measured,
    beside: { name: other.name, measured: beside, ratio: measured.median / beside.median, goal: other.goal },
  }
}

export function table(figures: readonly Figure[]): string {
  const rows = figures.map(({ name, unit, measured, beside }) => [
    name,
    `${number(measured.median)} ${unit}`,
    `${number(measured.minimum)} - ${number(measured.maximum)}`,
    beside === undefined ? '' : `${number(beside.measured.median)} ${unit}`,
    beside === undefined ? '' : beside.ratio.toFixed(2),
    beside === undefined ? '' : `<= ${beside.goal}${beside.ratio <= beside.goal ? '' : '  MISSED'}`,
  ])
  const all = [['figure', 'median', 'range', 'beside', 'ratio', 'goal'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1)
}

export async function timed(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await act()
  return performance.now() - began
}
