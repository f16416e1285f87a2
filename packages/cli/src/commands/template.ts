import type { Context, Outcome } from '../context.ts'
import { print, printJSON, table } from '../output.ts'
import { relative } from '../relative.ts'

export async function listTemplates({ client, json, signal }: Context): Outcome {
  const templates = await client.getTemplates({ signal })
  if (json) return await printJSON(templates)
  const rows = templates.map((template) => [
    template.names[0] ?? template.aliases[0] ?? '-',
    template.templateID,
    template.buildStatus,
    `${template.cpuCount} vCPU`,
    `${template.memoryMB} MB`,
    String(template.spawnCount),
    relative(template.updatedAt),
  ])
  await print(table(['NAME', 'ID', 'BUILD', 'CPU', 'MEMORY', 'STARTED', 'UPDATED'], rows))
}
