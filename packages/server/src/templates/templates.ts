// The templates that a team can use: its own, and those that come built.
import { Refused } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Caller } from '../sandboxes/sandbox.ts'
import { findTemplate, pageOfTemplates } from '../store/templates.ts'
import type { Template } from './template.ts'

/** Where a page ended. */
export interface TemplateCursor {
  readonly createdAt: Date
  readonly templateID: string
}

/** A page, oldest first; `next` is there when more follow. */
export async function listTemplates(
  context: Context,
  caller: Caller,
  page: { readonly limit: number; readonly after?: TemplateCursor },
): Promise<{ templates: Template[]; next?: TemplateCursor }> {
  const found = await pageOfTemplates(context.store, { ...page, teamID: caller.teamID, limit: page.limit + 1 })
  const templates = found.slice(0, page.limit)
  const last = templates.at(-1)
  if (found.length <= page.limit || last === undefined) return { templates }
  return { templates, next: { createdAt: last.createdAt, templateID: last.templateID } }
}

/** By id or name, among those the team can see; its own hides one that comes built. Refuses: template_not_found. */
export async function getTemplate(context: Context, caller: Caller, idOrName: string): Promise<Template> {
  const template = await findTemplate(context.store, caller.teamID, idOrName)
  if (template === undefined) throw new Refused('template_not_found', `template ${idOrName} was not found`)
  return template
}
