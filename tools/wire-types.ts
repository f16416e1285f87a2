// The SDK's wire types: the contract's schemas as TypeScript interfaces, and its routes as data, so that the SDK ships
// without a schema library. The text is deterministic and is what the formatter would make of it.
import { endReasons, errors, publicStates, routes, schemas } from '@lelantos-ai/contract'
import type { Route } from '@lelantos-ai/contract'

interface Schema {
  readonly $id?: string
  readonly type?: string
  readonly const?: unknown
  readonly description?: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly enum?: readonly string[]
}

const WIDTH = 120
const named = Object.entries(schemas as unknown as Record<string, Schema>).filter(([, schema]) => schema.$id)
/** `$id` -> exported name: they differ where the id would shadow a global, as `Error` would. */
const nameOf = new Map(named.map(([name, schema]) => [schema.$id, name]))
/** Unions that have a name of their own. */
const aliases = new Map([
  [alternatives(publicStates), 'PublicState'],
  [alternatives(endReasons), 'EndReason'],
])

/** The text of `packages/sdk/src/wire.ts`. */
export function wireTypes(): string {
  const parts = [
    '// Generated from packages/contract by `npm run generate`. Do not edit: change the contract.',
    union('PublicState', publicStates, 'The state of a sandbox as the outside sees it.'),
    union('EndReason', endReasons, 'Why a sandbox ended.'),
    union('ErrorCode', Object.keys(errors), 'The stable word in the body of an error.'),
    ...named.map(([name, schema]) => `${comment(schema.description, '')}export interface ${name} ${block(schema, '')}`),
    routeTable(),
    callTypes(),
  ]
  return `${parts.join('\n\n')}\n`
}

function union(name: string, words: readonly string[], description: string): string {
  const line = `export type ${name} = ${alternatives(words)}`
  const text = line.length <= WIDTH ? line : `export type ${name} =\n${words.map((word) => `  | '${word}'`).join('\n')}`
  return `${comment(description, '')}${text}`
}

function alternatives(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(' | ')
}

function comment(text: string | undefined, indent: string): string {
  return text === undefined ? '' : `${indent}/** ${text} */\n`
}

function block(schema: Schema, indent: string): string {
  const required = new Set(schema.required)
  const lines = Object.entries(schema.properties ?? {}).map(([key, property]) => {
    const [mark, absent] = required.has(key) ? ['', ''] : ['?', ' | undefined']
    return `${comment(property.description, `${indent}  `)}${indent}  ${key}${mark}: ${typeText(property)}${absent}`
  })
  return lines.length === 0 ? '{}' : `{\n${lines.join('\n')}\n${indent}}`
}

function typeText(schema: Schema): string {
  if (schema.$id !== undefined) return nameOf.get(schema.$id) ?? fail(schema)
  if (schema.const !== undefined)
    return typeof schema.const === 'string' ? `'${schema.const}'` : JSON.stringify(schema.const)
  if (schema.enum) return aliases.get(alternatives(schema.enum)) ?? alternatives(schema.enum)
  if (schema.anyOf) {
    const text = [...new Set(schema.anyOf.map(typeText))].join(' | ')
    return aliases.get(text) ?? (text.includes('unknown') ? 'unknown' : text)
  }
  if (schema.patternProperties) return `Record<string, ${typeText(Object.values(schema.patternProperties)[0] ?? {})}>`
  if (schema.items) return schema.items.anyOf ? `(${typeText(schema.items)})[]` : `${typeText(schema.items)}[]`
  if (schema.type === 'integer' || schema.type === 'number') return 'number'
  if (schema.type === 'string' || schema.type === 'boolean' || schema.type === 'null') return schema.type
  if (schema.type === 'object') return inline(schema)
  return Object.keys(schema).length === 0 ? 'unknown' : fail(schema)
}

function inline(schema: Schema): string {
  const required = new Set(schema.required)
  const properties = Object.entries(schema.properties ?? {}).map(([key, property]) =>
    required.has(key) ? `${key}: ${typeText(property)}` : `${key}?: ${typeText(property)} | undefined`,
  )
  return properties.length === 0 ? 'Record<string, never>' : `{ ${properties.join('; ')} }`
}

function fail(schema: Schema): never {
  throw new Error(`the generator of wire types knows no TypeScript for ${JSON.stringify(schema)}`)
}

function routeTable(): string {
  const lines = Object.entries(routes).map(
    ([name, { method, path }]) => `  ${name}: { method: '${method}', path: '${path}' },`,
  )
  return `/** Method and path of every route. \`{name}\` stands for a path parameter. */\nexport const routes = {\n${lines.join('\n')}\n} as const`
}

function callTypes(): string {
  const lines = Object.entries<Route>(routes).map(([name, route]) => {
    const part = (schema: unknown) => {
      if (schema === undefined) return 'undefined'
      const text = typeText(schema as Schema)
      return text.length > WIDTH - '    query: '.length ? block(schema as Schema, '    ') : text
    }
    return [
      comment(route.summary, '  ').trimEnd(),
      `  ${name}: {`,
      `    query: ${part(route.query)}`,
      `    body: ${part(route.body)}`,
      `    reply: ${part(route.success.schema)}`,
      '  }',
    ].join('\n')
  })
  return `/** What each route takes and gives. */\nexport interface Calls {\n${lines.join('\n')}\n}`
}
