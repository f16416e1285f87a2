// A command run to its end, by the daemon's own `POST /rpc`. Output is gathered in the guest and bounded there and here.
import { limits, Refused, schemas } from '@lelantos-ai/contract'
import Value from 'typebox/value'
import type { Answers } from '../api/answers.ts'
import { readProblem, readReply } from '../guest/guests.ts'
import { untilClientLeaves } from '../guest/signals.ts'
import { checkVariables } from './environment.ts'

/** The guest keeps the command's own timeout; this is what its answer may take beyond it. */
const GRACE_MS = 10_000
/** JSON writes a control character in six bytes. */
const REPLY_BYTES = 6 * limits.execOutputBytes + 4096

export const execAnswers: Pick<Answers, 'exec'> = {
  async exec({ guests }, { params, body, caller, reply }) {
    const { user = 'root', timeout = limits.execTimeoutSeconds.default, ...rest } = body
    const bytes = Buffer.byteLength(rest.cmd)
    if (bytes > limits.argumentBytes)
      throw new Refused('bad_request', `cmd must be at most ${limits.argumentBytes} bytes, got ${bytes}: write a file`)
    checkVariables('envs', rest.envs ?? {})
    const answerMs = timeout * 1000 + GRACE_MS
    using leaving = untilClientLeaves(reply, answerMs)
    const answer = await guests.open(caller, params.sandboxID, {
      method: 'POST',
      path: '/rpc',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        method: 'exec',
        params: { cmd: rest.cmd, cwd: rest.cwd, envs: rest.envs, user, timeout },
      }),
      signal: leaving.signal,
      answerMs,
    })
    if (answer.statusCode !== 200) throw refusal(answer.statusCode ?? 0, await readProblem(answer))
    return parseResult(await readReply(answer, REPLY_BYTES))
  },
}

function refusal(status: number, message: string): Refused {
  if (status === 413) return new Refused('payload_too_large', message)
  if (status === 408 || status === 504) return new Refused('operation_timeout', message)
  if (status >= 400 && status < 500) return new Refused('bad_request', message)
  return new Refused('sandbox_unreachable', message)
}

function parseResult(text: string): schemas.ExecResult {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Falls through to the refusal: not JSON is a wrong shape too.
  }
  if (!Value.Check(schemas.ExecResult, value))
    throw new Refused('sandbox_unreachable', 'the sandbox answered something that is no result of a command')
  return { stdout: value.stdout, stderr: value.stderr, exitCode: value.exitCode }
}
