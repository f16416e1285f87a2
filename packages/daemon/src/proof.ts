// `up` proves itself: through the API and the edge, as any user would, on a real sandbox. What it prints is measured.
import { type LelantosClient, LelantosError } from '@lelantos-ai/sdk'

export interface ProofStep {
  readonly name: string
  readonly ms: number
}

/** Creates a sandbox, runs a command in it, pauses, resumes, checks that memory survived, kills it. Rejects naming the step that failed. */
export async function prove(client: LelantosClient, done: (step: ProofStep) => void): Promise<readonly ProofStep[]> {
  const steps: ProofStep[] = []
  const step = async <T>(name: string, act: () => Promise<T>): Promise<T> => {
    const began = performance.now()
    try {
      return await act()
    } catch (cause) {
      const message = cause instanceof LelantosError ? cause.message : String(cause)
      throw new Error(`the first sandbox failed at "${name}": ${message}`, { cause })
    } finally {
      const finished = { name, ms: performance.now() - began }
      steps.push(finished)
      done(finished)
    }
  }

  const sandbox = await step('create', () =>
    client.createSandbox({ templateID: 'base', timeout: 300, metadata: { purpose: 'proof' } }),
  )
  try {
    const word = `proof-${Date.now()}`
    await step('run', () => expectOutput(sandbox.commands.run(`echo ${word} | tee /dev/shm/proof`), word))
    await step('pause', () => sandbox.pause())
    await step('resume', () => sandbox.resume())
    // /dev/shm is memory: that it is still there is what a resume promises.
    await step('run again', () => expectOutput(sandbox.commands.run('cat /dev/shm/proof'), word))
  } finally {
    await step('kill', () => sandbox.kill())
  }
  return steps
}

async function expectOutput(
  running: Promise<{ stdout: string; stderr: string; exitCode: number }>,
  word: string,
): Promise<void> {
  const result = await running
  if (result.exitCode !== 0 || result.stdout.trim() !== word) {
    throw new Error(`expected ${word} and exit code 0, got ${JSON.stringify(result)}`)
  }
}
