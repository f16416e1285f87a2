// Moving sandboxes: pause, resume, kill, and their timeouts.
import { killSandbox } from '../../sandboxes/kill.ts'
import { pauseSandbox } from '../../sandboxes/pause.ts'
import { resumeSandbox } from '../../sandboxes/resume.ts'
import { refreshSandbox, setTimeout } from '../../sandboxes/timeout.ts'
import type { Answers } from '../api/answers.ts'
import { sandboxTimeout } from '../api/client.ts'
import { refuseForeignOptions } from '../e2b/options.ts'
import { wireCreated } from './wire.ts'

type LifecycleAnswers = Pick<
  Answers,
  'killSandbox' | 'pauseSandbox' | 'resumeSandbox' | 'setSandboxTimeout' | 'refreshSandbox'
>

export const lifecycleAnswers: LifecycleAnswers = {
  async killSandbox({ context }, { params, caller }) {
    await killSandbox(context, caller, params.sandboxID)
  },

  async pauseSandbox({ context }, { params, body, caller }) {
    refuseForeignOptions(body)
    await pauseSandbox(context, caller, params.sandboxID)
  },

  async resumeSandbox({ context }, { params, body, caller, request }) {
    refuseForeignOptions(body)
    const timeoutSeconds = sandboxTimeout(request, body.timeout)
    const options = timeoutSeconds === undefined ? {} : { timeoutSeconds }
    return wireCreated(context, await resumeSandbox(context, caller, params.sandboxID, options))
  },

  async setSandboxTimeout({ context }, { params, body, caller, request }) {
    await setTimeout(context, caller, params.sandboxID, sandboxTimeout(request, body.timeout))
  },

  async refreshSandbox({ context }, { params, body, caller, request }) {
    await refreshSandbox(context, caller, params.sandboxID, sandboxTimeout(request, body.timeout ?? body.duration))
  },
}
