// Sandboxes as they go out. What is stored and what is sent are two things: nothing leaves by being in a row.
import { envdAccessToken, publicState, type schemas } from '@lelantos-ai/contract'
import type { Context } from '../../context.ts'
import type { Sandbox } from '../../sandboxes/sandbox.ts'

/** E2B's clients want the field, and nothing here has such a thing. */
const CLIENT_ID = 'lelantos'
/** E2B's clients know no sandbox that never expires. */
const NEVER = '9999-12-31T23:59:59.999Z'

export type Audience = 'native' | 'e2b'

export function wireCreated(context: Context, sandbox: Sandbox): schemas.Sandbox {
  const state = publicState[sandbox.state]
  return {
    templateID: sandbox.templateID,
    sandboxID: sandbox.sandboxID,
    ...(sandbox.alias === null ? {} : { alias: sandbox.alias }),
    clientID: CLIENT_ID,
    envdVersion: sandbox.envdVersion,
    envdAccessToken: envdAccessToken(context.installationKey, sandbox.sandboxID),
    domain: context.domain,
    state,
    status: state,
  }
}

export function wireListed(sandbox: Sandbox, audience: Audience): schemas.ListedSandbox {
  const state = publicState[sandbox.state]
  return {
    templateID: sandbox.templateID,
    ...(sandbox.alias === null ? {} : { alias: sandbox.alias }),
    sandboxID: sandbox.sandboxID,
    clientID: CLIENT_ID,
    startedAt: sandbox.createdAt.toISOString(),
    endAt: sandbox.endAt?.toISOString() ?? (audience === 'e2b' ? NEVER : null),
    cpuCount: sandbox.cpuCount,
    memoryMB: sandbox.memoryMB,
    diskSizeMB: sandbox.diskSizeMB,
    metadata: { ...sandbox.metadata },
    state,
    status: state,
    envdVersion: sandbox.envdVersion,
    volumeMounts: [],
  }
}

export function wireDetail(context: Context, sandbox: Sandbox, audience: Audience): schemas.SandboxDetail {
  const live = sandbox.endedAt === null
  return {
    ...wireListed(sandbox, audience),
    domain: context.domain,
    ...(live ? { envdAccessToken: envdAccessToken(context.installationKey, sandbox.sandboxID) } : {}),
    ...(sandbox.endReason === null ? {} : { endReason: sandbox.endReason }),
    ...(sandbox.endedAt === null ? {} : { endedAt: sandbox.endedAt.toISOString() }),
  }
}
