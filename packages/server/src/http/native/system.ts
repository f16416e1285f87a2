import { openapi } from '@lelantos-ai/contract'
import type { Answers } from '../api/answers.ts'
import { isE2BClient } from '../api/client.ts'

export const systemAnswers: Pick<Answers, 'health' | 'openapi'> = {
  async health({ version }, { request, reply }) {
    if (isE2BClient(request)) void reply.code(204) // and then without a body, as their own server does
    return { status: 'ok', version }
  },

  async openapi({ version }) {
    return openapi(version)
  },
}
