import { limits, type schemas } from '@lelantos-ai/contract'
import { getTemplate, listTemplates } from '../../templates/templates.ts'
import type { Template } from '../../templates/template.ts'
import type { Answers } from '../api/answers.ts'
import { decodeCursor, encodeCursor } from '../api/cursor.ts'

export const templateAnswers: Pick<Answers, 'listTemplates' | 'getTemplate'> = {
  async listTemplates({ context }, { query, caller, reply }) {
    const cursor = decodeCursor(query.nextToken)
    const page = await listTemplates(context, caller, {
      limit: query.limit ?? limits.pageSize.default,
      ...(cursor === undefined ? {} : { after: { createdAt: cursor.at, templateID: cursor.id } }),
    })
    if (page.next !== undefined)
      void reply.header('x-next-token', encodeCursor(page.next.createdAt, page.next.templateID))
    return page.templates.map(wireTemplate)
  },

  async getTemplate({ context }, { params, caller }) {
    return wireTemplate(await getTemplate(context, caller, params.templateID))
  },
}

function wireTemplate(template: Template): schemas.Template {
  return {
    templateID: template.templateID,
    buildID: template.buildID,
    cpuCount: template.cpuCount,
    memoryMB: template.memoryMB,
    diskSizeMB: template.diskSizeMB,
    public: template.teamID === null,
    aliases: [template.name],
    names: [template.name],
    createdAt: template.createdAt.toISOString(),
    updatedAt: template.updatedAt.toISOString(),
    createdBy: null,
    lastSpawnedAt: template.lastSpawnedAt?.toISOString() ?? null,
    spawnCount: template.spawnCount,
    buildCount: template.buildCount,
    // Only a template with a finished build is listed: a build under way is another row.
    buildStatus: 'ready',
    envdVersion: template.envdVersion,
  }
}
