// What the edge itself says, in the words that E2B's clients know (`docs/e2b.md`): JSON, or a small page for people.
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface EdgeAnswer {
  readonly code: 400 | 401 | 404 | 409 | 502 | 503
  readonly message: string
  readonly sandboxId?: string
  readonly port?: number
}

export const answers = {
  absent: (sandboxId: string): EdgeAnswer => ({ sandboxId, message: 'The sandbox was not found', code: 502 }),
  closed: (sandboxId: string, port: number): EdgeAnswer => ({
    sandboxId,
    message: 'The sandbox is running but port is not open',
    port,
    code: 502,
  }),
  silent: (sandboxId: string, port: number): EdgeAnswer => ({
    sandboxId,
    message: 'The sandbox did not answer',
    port,
    code: 502,
  }),
  moving: (sandboxId: string): EdgeAnswer => ({
    sandboxId,
    message: 'The sandbox is being created, paused or resumed: try again',
    code: 409,
  }),
  unauthorized: (): EdgeAnswer => ({
    code: 401,
    message: 'the in-VM API needs the X-Access-Token of the sandbox, or an API key of its team',
  }),
  internal: (): EdgeAnswer => ({ code: 404, message: 'not found' }),
  malformed: (message: string): EdgeAnswer => ({ code: 400, message }),
  unavailable: (sandboxId: string): EdgeAnswer => ({
    sandboxId,
    message: 'Where the sandbox is cannot be looked up at the moment: try again',
    code: 503,
  }),
} as const

const BROWSER = /^Mozilla\/5\.0 .*(Chrome|Firefox|Safari)\//

/** The answer as a body, by who asks. */
export function render(answer: EdgeAnswer, request: IncomingMessage): { type: string; body: string } {
  const agent = request.headers['user-agent'] ?? ''
  const accepts = request.headers.accept ?? ''
  if (!BROWSER.test(agent) || !accepts.includes('text/html'))
    return { type: 'application/json; charset=utf-8', body: JSON.stringify(answer) }
  // Id and port passed the target's patterns, and every message is ours: nothing here needs escaping but the one
  // message that quotes a request.
  const text = answer.message.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
  const which = answer.sandboxId === undefined ? '' : `<p><code>${answer.sandboxId}</code>`
  const port = answer.port === undefined ? '' : ` port ${answer.port}`
  return {
    type: 'text/html; charset=utf-8',
    body: `<!doctype html><meta charset="utf-8"><title>${answer.code}</title><style>body{font:16px system-ui;margin:15vh auto;max-width:40em;padding:0 1em}</style><h1>${answer.code}</h1><p>${text}${which}${port}\n`,
  }
}

/** Sends it, unless a part of another response is already on its way: then the connection ends, so that nobody takes the part for the whole. */
export function send(answer: EdgeAnswer, request: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { type, body } = render(answer, request)
  // A body that nobody reads would have to be drained: of unknown length it is cut off instead.
  const unread = !request.complete && !(Number(request.headers['content-length'] ?? NaN) <= 65_536)
  response.writeHead(answer.code, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(answer.code === 409 || answer.code === 503 ? { 'retry-after': '1' } : {}),
    ...(unread && hasBody(request) ? { connection: 'close' } : {}),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** Whether a request announces a body. */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length']
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) > 0)
}
