// A worker's network slots, driven by lines of JSON on standard input.
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'
import { silentLog } from '@lelantos-ai/contract'
import type { Slot } from '@lelantos-ai/worker/net/slot'
import { openSlots, type OpenSlots, type SlotsOptions } from '@lelantos-ai/worker/net/slots'

interface Request {
  readonly method: 'open' | 'acquire' | 'release' | 'claim' | 'close'
  readonly argument?: unknown
}

let slots: OpenSlots | undefined

async function answer({ method, argument }: Request): Promise<unknown> {
  if (method === 'open') {
    slots = await openSlots({ ...(argument as SlotsOptions), log: silentLog })
    return null
  }
  if (!slots) throw new Error('not open')
  if (method === 'acquire') return slots.acquire()
  if (method === 'claim') return slots.claim(argument as number)
  if (method === 'release') await slots.release(argument as Slot)
  if (method === 'close') await slots.close(argument as { keep: boolean })
  return null
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await answer(JSON.parse(line) as Request).then(
    (result) => ({ result }),
    (error: unknown) => ({ error: inspect(error) }),
  )
  console.log(JSON.stringify(reply))
}
