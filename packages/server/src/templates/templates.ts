import type { WorkerBuild } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import type { Caller } from '../sandboxes/sandbox.ts'
import type { Template } from './template.ts'

/** Where a page ended. */
export interface TemplateCursor {
  readonly createdAt: Date
  readonly templateID: string
}

export async function listTemplates(
  context: Context,
  caller: Caller,
  page: { readonly limit: number; readonly after?: TemplateCursor },
): Promise<{ templates: Template[]; next?: TemplateCursor }> {
  throw new Error('follows')
}
/** By id or name, among those the team can see. Refuses: template_not_found. */
export async function getTemplate(context: Context, caller: Caller, idOrName: string): Promise<Template> {
  throw new Error('follows')
}
