// One `echo`, asked of the in-VM API the way clients do (process.Process/Start), to its end. The same function serves both
// sides of a comparison: straight to the guest, and through the edge.
import { type Agent, request } from 'node:http'

export interface Door {
  /** Where the request goes: a guest's address, or the edge's. */
  readonly host: string
  readonly port: number
  readonly headers: Readonly<Record<string, string>>
  readonly agent: Agent
}

const BODY = (() => {
  const message = Buffer.from(
    JSON.stringify({ process: { cmd: '/bin/bash', args: ['-l', '-c', 'echo hi'] }, stdin: false }),
  )
  const header = Buffer.alloc(5)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
})()

/** Rejects unless the guest has printed `hi` and exited with 0. */
export async function echo(door: Door): Promise<void> {
  const text = await post(door, '/process.Process/Start', BODY, {
    'Content-Type': 'application/connect+json',
    Authorization: `Basic ${Buffer.from('root:').toString('base64')}`,
  })
  if (!text.includes(Buffer.from('hi\n').toString('base64')) || !text.includes('"exited":true'))
    throw new Error(`no echo: ${text}`)
}

/** Resolves with the body of a 2xx reply. */
function post(door: Door, path: string, body: Buffer, headers: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: door.host,
        port: door.port,
        path,
        method: 'POST',
        agent: door.agent,
        headers: { ...door.headers, ...headers, 'Content-Length': body.length },
      },
      (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
        response.on('error', reject)
        response.on('end', () =>
          (response.statusCode ?? 500) < 300
            ? resolve(text)
            : reject(new Error(`${path}: ${response.statusCode} ${text}`)),
        )
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}
