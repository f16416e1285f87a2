// What a sandbox did and does: logs and metrics.
import type { LogLine } from '@lelantos-ai/sdk'
import type { Context, Outcome } from '../context.ts'
import { bytesText, print, printable, printJSON, table } from '../output.ts'
import { ALL, pick } from '../pick.ts'

const PAGE = 1000

export async function logs(
  context: Context,
  id: string,
  flags: { readonly start?: number; readonly limit?: number },
): Outcome {
  const sandboxID = await pick(context, id, ALL)
  const lines: LogLine[] = []
  const wanted = flags.limit ?? Number.POSITIVE_INFINITY
  for (;;) {
    const limit = Math.min(PAGE, wanted - lines.length)
    const start = (flags.start ?? 0) + lines.length
    const page = await context.client.getSandboxLogs(sandboxID, { start, limit, signal: context.signal })
    lines.push(...page.logs)
    if (page.logs.length < limit || lines.length >= wanted) break
  }
  if (context.json) return await printJSON(lines)
  for (const { timestamp, line } of lines) await print(`${timestamp}  ${printable(line)}`)
}

export async function metrics(context: Context, id: string): Outcome {
  const sandboxID = await pick(context, id)
  const sample = await context.client.getSandboxMetrics(sandboxID, { signal: context.signal })
  if (context.json) return await printJSON(sample)
  const share = (used: number, total: number) =>
    `${bytesText(used)} of ${bytesText(total)} (${total > 0 ? Math.round((100 * used) / total) : 0} %)`
  await print(
    table(
      ['cpu', `${sample.cpuUsedPct.toFixed(1)} % of ${sample.cpuCount} vCPU`],
      [
        ['memory', share(sample.memUsed, sample.memTotal)],
        ['disk', share(sample.diskUsed, sample.diskTotal)],
      ],
    ),
  )
}
