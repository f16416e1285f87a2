// The table of routes, as types: each route has one answer, and one without an answer does not compile.
import { type RouteName, type routes, Refused } from '@lelantos-ai/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Static, TSchema } from 'typebox'
import type { Context } from '../../context.ts'
import { authenticate } from '../../keys/keys.ts'
import type { Caller } from '../../sandboxes/sandbox.ts'
import { apiKeyOf } from '../credentials.ts'
import type { Guests } from '../guest/guests.ts'

/** What answers need besides the verbs' context. */
export interface API {
  readonly context: Context
  readonly guests: Guests
  readonly version: string
}

type PathParams<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? { readonly [K in Name]: string } & PathParams<Rest>
  : unknown
type StaticOf<R, K extends string> = R extends { readonly [P in K]: infer S extends TSchema } ? Static<S> : undefined
type Table = typeof routes

/** One request to a route, validated. */
export interface Call<N extends RouteName> {
  readonly params: PathParams<Table[N]['path']>
  readonly query: StaticOf<Table[N], 'query'>
  readonly body: StaticOf<Table[N], 'body'>
  readonly caller: Table[N]['auth'] extends 'key' ? Caller : undefined
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

type Answered<N extends RouteName> = Table[N]['success'] extends { readonly schema: infer S extends TSchema }
  ? Static<S>
  : void

/** What each route does; its status is the table's unless the answer sets another on the reply. */
export type Answers = { readonly [N in RouteName]: (api: API, call: Call<N>) => Promise<Answered<N>> }

/** A look-up of a key that takes longer has met a store that is away. */
const AUTHENTICATE_MS = 1800

/** Whose request it is. Refuses `unauthorized`, without a word of what was sent. */
export async function callerOf(context: Context, request: FastifyRequest): Promise<Caller> {
  const key = apiKeyOf(request.headers)
  if (key === undefined) throw new Refused('unauthorized', 'an API key is needed, in the header X-API-Key')
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const refused = new Refused('unavailable', 'the store is away for a moment: try again', 1)
    timer = setTimeout(() => reject(refused), AUTHENTICATE_MS)
  })
  try {
    const caller = await Promise.race([authenticate(context, key), late])
    if (caller === undefined) throw new Refused('unauthorized', 'the API key is not valid')
    return caller
  } finally {
    clearTimeout(timer)
  }
}
