import { describe, expect, it } from 'vitest'
import { command, CommandError } from './command.ts'

const deadlineMs = 10_000

describe('command', () => {
  it('passes input and gathers output', async () => {
    expect(await command('cat', [], { deadlineMs, input: 'grün\n' })).toEqual({ stdout: 'grün\n', stderr: '' })
    expect((await command('cat', [], { deadlineMs })).stdout).toBe('')
  })

  it('names program, arguments, exit code and stderr of a failure', async () => {
    const error = await command('sh', ['-c', 'echo half; echo wrong >&2; exit 3'], { deadlineMs }).catch(
      (e: unknown) => e,
    )
    expect(error).toBeInstanceOf(CommandError)
    expect(error).toMatchObject({ how: 'exited with 3', exitCode: 3, stdout: 'half\n', stderr: 'wrong\n' })
    expect((error as Error).message).toBe('sh -c echo half; echo wrong >&2; exit 3 exited with 3: wrong')
  })

  it('shows the last lines of one that said much', async () => {
    const script = 'for n in $(seq 20000); do echo line $n >&2; done; exit 1'
    const error = await command('sh', ['-c', script], { deadlineMs }).catch((e: unknown) => e as Error)
    const shown = Array.from({ length: 15 }, (_, n) => `    line ${19_986 + n}`)
    expect((error as Error).message.split('\n').slice(1)).toEqual(shown)
  })

  it('kills at the deadline, with the children that hold its output', async () => {
    const start = performance.now()
    await expect(command('sh', ['-c', 'sleep 60 & sleep 60'], { deadlineMs: 50 })).rejects.toThrow(/longer than 50 ms/)
    expect(performance.now() - start).toBeLessThan(5000)
  })

  it('ends when it is aborted', async () => {
    const controller = new AbortController()
    const running = command('sleep', ['60'], { deadlineMs, signal: controller.signal })
    controller.abort()
    await expect(running).rejects.toThrow(/was aborted/)
    await expect(command('true', [], { deadlineMs, signal: controller.signal })).rejects.toThrow()
  })

  it('bounds what a program may print', async () => {
    await expect(command('yes', [], { deadlineMs, outputBytesMax: 1000 })).rejects.toThrow(/more than 1000 bytes/)
  })

  it('says which program is missing', async () => {
    await expect(command('no-such-program', [], { deadlineMs })).rejects.toThrow(/no-such-program could not be started/)
  })
})
