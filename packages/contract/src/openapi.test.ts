import { describe, expect, it } from 'vitest'
import { openapi } from './openapi.ts'
import { type Route, routes } from './routes.ts'

interface Operation {
  readonly operationId: string
  readonly responses: Record<string, unknown>
  readonly parameters?: { name: string; in: string; required: boolean }[]
}
const document = openapi('1.2.3') as unknown as {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, object> }
}

describe('the OpenAPI document', () => {
  it('has every route, with its parameters and its statuses', () => {
    for (const [name, route] of Object.entries(routes) as [string, Route][]) {
      const operation = document.paths[route.path]?.[route.method.toLowerCase()]
      expect(operation?.operationId).toBe(name)
      const statuses = Object.keys(operation?.responses ?? {})
      expect(statuses).toContain(String(route.success.status))
      expect(statuses.includes('401')).toBe(route.auth === 'key')
      const inPath = operation?.parameters?.filter((parameter) => parameter.in === 'path') ?? []
      expect(inPath.map((parameter) => `{${parameter.name}}`)).toEqual(route.path.match(/\{\w+\}/g) ?? [])
    }
  })

  it('refers only to what it has, and says each schema once', () => {
    const text = JSON.stringify(document)
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g))
      expect(document.components.schemas).toHaveProperty(name as string)
    expect(text).not.toContain('$id')
    expect(Object.keys(document.components.schemas)).toEqual(Object.keys(document.components.schemas).toSorted())
    for (const name of Object.keys(document.components.schemas))
      expect(text).toContain(`"#/components/schemas/${name}"`)
  })

  it('is the same each time', () => {
    expect(JSON.stringify(openapi('1'))).toBe(JSON.stringify(openapi('1')))
  })
})
