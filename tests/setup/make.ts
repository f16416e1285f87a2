// Run by resume.test.ts as a process of its own: a set-up of three steps in the folder given, the middle one of which starts a
// program that lasts, unless there is a file `quick`.
import { existsSync } from 'node:fs'
import { appendFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isArtifact, makeArtifact, sweepArtifacts } from '@lelantos-ai/daemon/setup/artifact'
import { command } from '@lelantos-ai/daemon/setup/program'
import { runSteps, type Step } from '@lelantos-ai/daemon/setup/steps'

const [folder = ''] = process.argv.slice(2)
const artifacts = join(folder, 'artifacts')

const first: Step = {
  name: 'first',
  inputs: async () => 'first',
  present: (product) =>
    stat(product).then(
      () => true,
      () => false,
    ),
  run: async () => {
    await appendFile(join(folder, 'first'), 'made\n')
    return join(folder, 'first')
  },
}

const middle: Step = {
  name: 'middle',
  after: ['first'],
  inputs: async () => 'abcdef012345',
  present: isArtifact,
  run: ({ inputs, signal }) =>
    makeArtifact(artifacts, 'image', inputs, async (into) => {
      await writeFile(join(into, 'half'), 'half')
      const seconds = existsSync(join(folder, 'quick')) ? '0' : '600'
      // A child of a child, as a script's programs are; its pid as seen from outside is found by its arguments.
      await command(['sh', '-c', `sleep ${seconds}.0${process.pid}; true`], { signal, fate: 'dies_with_us' })
      await writeFile(join(into, 'whole'), 'whole')
      return 'hash'
    }),
}

const last: Step = {
  name: 'last',
  after: ['middle'],
  inputs: async () => 'last',
  present: async () => true,
  run: async () => 'done',
}

await sweepArtifacts(artifacts)
await runSteps([first, middle, last], {
  stamps: join(folder, 'stamps'),
  signal: new AbortController().signal,
  report: ({ step, state }) => void process.stdout.write(`${step} ${state}\n`),
})
