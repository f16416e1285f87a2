import type { SandboxDetail } from '@lelantos-ai/sdk'
import type { Context, Outcome } from '../context.ts'
import { print, printable, printJSON, table } from '../output.ts'
import { ALL, pick } from '../pick.ts'
import { relative } from '../relative.ts'

export async function get(context: Context, id: string): Outcome {
  const { client, json, signal } = context
  const sandboxID = await pick(context, id, ALL)
  const { envdAccessToken: _token, ...details } = await client.getSandbox(sandboxID, { terminated: true, signal })
  const url = client.sandbox(sandboxID).getURL()
  if (json) return await printJSON({ ...details, url })
  await print(table(['id', sandboxID], rows(details, url)))
}

function rows(details: Omit<SandboxDetail, 'envdAccessToken'>, url: string): string[][] {
  const when = (time: string | null) => (time === null ? 'never' : `${relative(time)} (${time})`)
  const metadata = Object.entries(details.metadata).map(([name, value]) => [
    `metadata ${printable(name)}`,
    printable(value),
  ])
  return [
    ['template', details.alias === undefined ? details.templateID : `${details.alias} (${details.templateID})`],
    ['state', details.endReason === undefined ? details.state : `${details.state} (${details.endReason})`],
    ['started', when(details.startedAt)],
    ...(details.endedAt === undefined ? [] : [['ended', when(details.endedAt)]]),
    ...(details.state === 'running' ? [['ends', when(details.endAt)]] : []),
    ['resources', `${details.cpuCount} vCPU, ${details.memoryMB} MB memory, ${details.diskSizeMB} MB disk`],
    ['url', url],
    ...metadata,
  ]
}
