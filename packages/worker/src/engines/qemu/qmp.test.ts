import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EngineError } from '../engine.ts'
import { Qmp, type QmpEvent } from './qmp.ts'

interface Command {
  readonly execute: string
  readonly id: number
}

const GREETING = { QMP: { version: { qemu: { major: 10, minor: 0, micro: 2 } }, capabilities: [] } }

describe('the control socket', () => {
  let folder: string
  const undo: (() => unknown)[] = []

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), `lelantos-qmp-${'long'.repeat(20)}-`))
  })
  afterEach(async () => {
    for (const step of undo.splice(0)) step()
    await rm(folder, { recursive: true })
  })

  /** A server that says `greeting` and answers commands as told; it agrees on capabilities by itself. */
  async function serve(answer: (command: Command, say: (message: object) => void, socket: Socket) => void) {
    const server = createServer((socket) => {
      const say = (message: object) => socket.write(`${JSON.stringify(message)}\r\n`)
      say(GREETING)
      socket.on('error', () => {})
      createInterface(socket).on('line', (line) => {
        const command = JSON.parse(line) as Command
        if (command.execute === 'qmp_capabilities') say({ return: {}, id: command.id })
        else answer(command, say, socket)
      })
      undo.push(() => socket.destroy())
    })
    // The path is longer than a socket's may be: it is bound, as it is connected to, relative to its folder.
    const before = process.cwd()
    process.chdir(folder)
    await new Promise<void>((resolve) => server.listen('qmp', resolve))
    process.chdir(before)
    undo.push(() => server.close())
    const qmp = await Qmp.connect(join(folder, 'qmp'), 5000)
    undo.push(() => qmp.close())
    return qmp
  }

  it('matches replies by id, and passes events on', async () => {
    const held: (() => void)[] = []
    const qmp = await serve((command, say) => {
      const reply = () => say({ return: command.execute, id: command.id })
      if (command.execute === 'first') held.push(reply)
      else {
        say({ event: 'STOP', data: { a: 1 } })
        reply()
        held.forEach((each) => each())
      }
    })
    const events: QmpEvent[] = []
    qmp.onEvent((event) => events.push(event))
    const replies = await Promise.all([qmp.execute('first'), qmp.execute('second')])
    expect(replies).toEqual(['first', 'second'])
    expect(events).toEqual([{ event: 'STOP', data: { a: 1 } }])
    expect(qmp.version).toBe('10.0.2')
  })

  it('says what was refused', async () => {
    const qmp = await serve((command, say) => say({ error: { class: 'GenericError', desc: 'no' }, id: command.id }))
    await expect(qmp.execute('cont')).rejects.toThrow(new EngineError('cont: no'))
  })

  it('gives up a command at its deadline, drops the late reply, and goes on', async () => {
    const late: (() => void)[] = []
    const qmp = await serve((command, say) => {
      late.push(() => say({ return: command.execute, id: command.id }))
      if (command.execute === 'second') late.forEach((reply) => reply())
    })
    await expect(qmp.execute('first', {}, 20)).rejects.toThrow('first: no reply within 20 ms')
    expect(await qmp.execute('second')).toBe('second')
  })

  it('ends every command when the connection does', async () => {
    const qmp = await serve((_command, _say, socket) => socket.destroy())
    const both = Promise.allSettled([qmp.execute('stop'), qmp.execute('cont')])
    await qmp.closed
    for (const each of await both) expect(each.status).toBe('rejected')
    await expect(qmp.execute('stop')).rejects.toThrow('stop: the control socket is closed')
  })

  it('ends the connection of a VMM that sends what is no message', async () => {
    const senseless = await serve((_command, _say, socket) => socket.write('{"return\n'))
    await expect(senseless.execute('stop')).rejects.toThrow(EngineError)
  })

  it('ends the connection of a VMM that sends a line without an end', async () => {
    const endless = await serve((_command, _say, socket) => socket.write('x'.repeat(5_000_000)))
    await expect(endless.execute('stop')).rejects.toThrow('stop: the control socket is closed')
  })

  it('tells a socket that is not there from one that is silent', async () => {
    await expect(Qmp.connect(join(folder, 'none'), 1000)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
