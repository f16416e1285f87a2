// One end of a conversation on a test's network: what a guest, the internet, a resolver or a client does. It says one line.
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { connect, createServer } from 'node:net'

const [mode = '', ...args] = process.argv.slice(2)
const say = (what: unknown) => console.log(typeof what === 'string' ? what : JSON.stringify(what))

/** A DNS message that answers the first question with one address; truncated over UDP for names that begin with `big`. */
function dnsAnswer(query: Buffer, address: string, transport: 'udp' | 'tcp'): Buffer {
  let end = 12
  while (query.readUInt8(end) !== 0) end += query.readUInt8(end) + 1
  const question = query.subarray(12, end + 5)
  const truncated = transport === 'udp' && question.subarray(1, 4).toString() === 'big'
  const header = Buffer.from(query.subarray(0, 12))
  header.writeUInt16BE(truncated ? 0x8380 : 0x8180, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(truncated ? 0 : 1, 6)
  header.writeUInt32BE(0, 8)
  if (truncated) return Buffer.concat([header, question])
  const record = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split('.').map(Number)])
  return Buffer.concat([header, question, record])
}

const modes: Record<string, () => void | Promise<void>> = {
  /** Tells each who connects to PORT the address that it came from, and stays. */
  serve: () => {
    const [port] = args
    createServer((socket) => {
      socket.on('error', () => {})
      socket.write(`${socket.remoteAddress}\n`)
    }).listen(Number(port), '0.0.0.0', () => say('ready'))
  },
  /** Connects to HOST and PORT: what it was told, or why not, and after how many milliseconds. */
  connect: async () => {
    const [host = '', port] = args
    const from = performance.now()
    const socket = connect({ host, port: Number(port), timeout: 3000 })
    const { promise, resolve } = Promise.withResolvers<object>()
    socket.on('data', (data) => resolve({ told: data.toString().trim() }))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve({ refused: error.code }))
    socket.on('timeout', () => resolve({ refused: 'timeout' }))
    const result = await promise
    say({ ...result, ms: Math.round(performance.now() - from) })
    process.exit()
  },
  /** Connects to HOST and PORT and keeps sending: says when it is connected, and then how that ended. */
  hold: () => {
    const [host = '', port] = args
    const socket = connect({ host, port: Number(port) })
    socket.on('connect', () => say('ready'))
    socket.on('error', (error: NodeJS.ErrnoException) => say({ refused: error.code }))
    const sending = setInterval(() => socket.write('meant for another guest'), 20)
    socket.on('close', () => clearInterval(sending))
  },
  /** Answers every question on ADDRESS, port 53, with ANSWER, over UDP and TCP. */
  resolver: () => {
    const [address = '', answer = ''] = args
    const udp = createSocket('udp4', (query, from) =>
      udp.send(dnsAnswer(query, answer, 'udp'), from.port, from.address),
    )
    const tcp = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (data) => {
        const reply = dnsAnswer(data.subarray(2), answer, 'tcp')
        socket.write(Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 255]), reply]))
      })
    })
    udp.bind(53, address, () => tcp.listen(53, address, () => say('ready')))
  },
  /** Asks SERVER for the address of NAME. */
  resolve: async () => {
    const [server = '', name = ''] = args
    const resolver = new Resolver({ timeout: 4000, tries: 1 })
    resolver.setServers([server])
    const from = performance.now()
    const result = await resolver.resolve4(name).then(
      (addresses) => ({ addresses }),
      (error: NodeJS.ErrnoException) => ({ refused: error.code }),
    )
    say({ ...result, ms: Math.round(performance.now() - from) })
    process.exit()
  },
}

await modes[mode]?.()
