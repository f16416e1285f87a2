import { createKey, deleteKey, listKeys } from '../../keys/keys.ts'
import type { Answers } from '../api/answers.ts'

export const keyAnswers: Pick<Answers, 'listKeys' | 'createKey' | 'deleteKey'> = {
  async listKeys({ context }, { caller }) {
    const keys = await listKeys(context, caller)
    return keys.map((key) => ({
      id: key.keyID,
      name: key.name,
      mask: key.mask,
      createdAt: key.createdAt.toISOString(),
      lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
    }))
  },

  async createKey({ context }, { body, caller }) {
    const created = await createKey(context, caller, body.name)
    return { id: created.keyID, name: created.name, apiKey: created.key }
  },

  async deleteKey({ context }, { params, caller }) {
    await deleteKey(context, caller, params.keyID)
  },
}
