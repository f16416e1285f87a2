// The templates that this worker holds: each a snapshot of a guest that is up and exercised. One that is missing, or that
// was made with other things or for another world, is made anew:
//
//   clone the image ── boot with a fresh control secret ── /init ── exercise ── stop ── save ── seal ── put away
import { createHash, randomBytes } from 'node:crypto'
import { chmod, chown, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  ENVD_VERSION,
  ID_PREFIX,
  ID_RANDOM_LENGTH,
  type IDKind,
  newID,
  newMachineID,
  type WorkerBuild,
} from '@lelantos-ai/contract'
import type { Running, Shape, World } from './engines/engine.ts'
import { cpio } from './images/initramfs.ts'
import type { WorkerNode } from './node.ts'
import { acquirePlace, type HeldPlace } from './place.ts'
import type { MadeWith, SealedSnapshot } from './snapshots/snapshots.ts'
import { deadlineSignal, until } from './until.ts'
import { killMachine } from './verbs/restore.ts'

export interface TemplateSource {
  /** `base`, say. */
  readonly name: string
  readonly buildID: string
  /** Raw disk image, kernel and initramfs: absolute paths. Only read. */
  readonly image: string
  readonly kernel: string
  readonly initramfs: string
  readonly shape: Shape
  readonly madeWith: MadeWith
}

/** A template that sandboxes can be created from. */
export interface Template {
  readonly name: string
  readonly buildID: string
  readonly snapshotID: string
  readonly shape: Shape
}

type Node = Pick<
  WorkerNode,
  'admission' | 'cgroups' | 'engine' | 'guest' | 'installation' | 'log' | 'slots' | 'snapshots' | 'volume'
>

/** A boot takes 4 s on a calm machine, and the exercise as long again. */
const MAKE_MS = 300_000

export class Templates {
  readonly #sources: readonly TemplateSource[]
  readonly #ready = new Map<string, Template>()
  readonly #stopped = new AbortController()

  constructor(sources: readonly TemplateSource[]) {
    this.#sources = sources
  }

  get(buildID: string): Template | undefined {
    return this.#ready.get(buildID)
  }

  builds(): WorkerBuild[] {
    return [...this.#ready.values()].map(({ name, buildID, shape }) => ({
      name,
      buildID,
      ...shape,
      envdVersion: ENVD_VERSION,
    }))
  }

  /** The snapshots that belong to templates, made or not: never to be swept. */
  snapshotIDs(engine: WorkerNode['engine']): string[] {
    return this.#sources.map((source) => snapshotOf(source, engine.world(source.shape)))
  }

  /** Gives up what is being made: its machine is in no roster, so nobody would take it over. */
  stop(): void {
    this.#stopped.abort(new Error('the worker is being closed'))
  }

  /** Verifies each, or makes it; one after the other, since a boot takes all cores. */
  async ready(node: Node, progress: (text: string) => void, changed: () => void): Promise<void> {
    for (const source of this.#sources) {
      const snapshotID = snapshotOf(source, node.engine.world(source.shape))
      if (!(await fits(node, source, snapshotID))) await make(node, source, snapshotID, progress, this.#stopped.signal)
      this.#ready.set(source.buildID, { name: source.name, buildID: source.buildID, snapshotID, shape: source.shape })
      changed()
    }
  }
}

/** A build is named by all that went into it, so the same template is the same build at each start. */
export function buildOf(source: Pick<TemplateSource, 'name' | 'shape' | 'madeWith'>): string {
  return derivedID('build', [source.name, source.shape, source.madeWith])
}

/** A build's snapshot is named by the world that it was made in too; rates that differ at each boot of a host are `mustFit`'s to compare. */
function snapshotOf(source: TemplateSource, world: World): string {
  const { tscKHz: _, ...lasting } = world
  return derivedID('snapshot', [source.buildID, source.madeWith, lasting])
}

function derivedID(kind: IDKind, from: unknown): string {
  const digest = createHash('sha256').update(canonical(from)).digest('hex')
  return ID_PREFIX[kind] + BigInt(`0x${digest}`).toString(36).slice(0, ID_RANDOM_LENGTH).padEnd(ID_RANDOM_LENGTH, '0')
}

/** JSON with the keys of each object in order: equal values are equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, at: unknown) =>
    at !== null && typeof at === 'object' && !Array.isArray(at)
      ? Object.fromEntries(Object.entries(at).sort(([left], [right]) => (left < right ? -1 : 1)))
      : at,
  )
}

async function fits(node: Node, source: TemplateSource, snapshotID: string): Promise<boolean> {
  if (!(await node.snapshots.list()).includes(snapshotID)) return false
  try {
    node.snapshots.mustFit(await node.snapshots.open(snapshotID), node.engine.world(source.shape))
    return true
  } catch (err) {
    node.log.warn({ err, template: source.name, snapshotID }, 'the template is made anew')
    await node.snapshots.delete(snapshotID)
    return false
  }
}

async function make(
  node: Node,
  source: TemplateSource,
  snapshotID: string,
  progress: (text: string) => void,
  givenUp: AbortSignal,
): Promise<SealedSnapshot> {
  const start = performance.now()
  const say = (what: string) =>
    progress(`template ${source.name}: ${what} (${((performance.now() - start) / 1000).toFixed(1)} s)`)
  using signal = deadlineSignal(MAKE_MS, `making template ${source.name}`, givenUp)
  await using undo = new AsyncDisposableStack()
  const place = undo.use(await acquirePlace(node, newMachineID(node.installation), source.shape))
  const controlSecret = randomBytes(32).toString('hex')
  const files = await layOut(node, source, place, controlSecret)
  const spec = { ...place, kernel: source.kernel, ...files }
  const running = await until(signal, node.engine.boot(spec, signal), (late) => late.kill())
  undo.defer(() => killMachine(running))
  say('booting')
  await warm(node, { place, running, controlSecret, say }, signal)
  const stopped = await until(signal, running.stop())
  await using draft = await node.snapshots.begin(snapshotID)
  const saved = await until(signal, stopped.save(draft.folder, { memory: true }))
  const sealed = await node.snapshots.seal(draft, saved, {
    buildID: source.buildID,
    madeWith: source.madeWith,
    controlSecret,
  })
  say('snapshot sealed')
  return sealed
}

/** The machine's own files. The initramfs holds the secret, so only the machine may read it. */
async function layOut(
  node: Node,
  source: TemplateSource,
  place: HeldPlace,
  controlSecret: string,
): Promise<{ initramfs: string; disk: string; consoleLog: string }> {
  const files = {
    initramfs: join(place.folder, 'initramfs'),
    disk: join(place.folder, 'disk.raw'),
    consoleLog: join(place.folder, 'console.log'),
  }
  await node.volume.clone(source.image, files.disk)
  // The kernel unpacks one archive after the other: the second holds the secret.
  const secret = cpio([{ kind: 'file', path: 'control-secret', mode: 0o400, content: Buffer.from(controlSecret) }])
  await writeFile(files.initramfs, Buffer.concat([await readFile(source.initramfs), secret]), { mode: 0o600 })
  await chmod(files.disk, 0o600)
  for (const file of [files.disk, files.initramfs]) await chown(file, place.slot.uid, place.slot.uid)
  return files
}

/** The guest is used once as a sandbox, so that what every sandbox needs is in memory; the sandbox it was is forgotten at the next `/init`. */
async function warm(
  node: Node,
  made: { place: HeldPlace; running: Running; controlSecret: string; say: (what: string) => void },
  signal: AbortSignal,
): Promise<void> {
  const { address } = made.place.slot
  const ended = made.running.exited.then((exit) => {
    throw new Error(`the machine of a template ended (${exit.reason}): ${exit.message}`)
  })
  ended.catch(() => {}) // its end after the template is made is our own doing
  const alive = <T>(step: Promise<T>) => until(signal, Promise.race([step, ended]))
  await alive(node.guest.healthy(address, signal))
  made.say('up')
  const accessToken = randomBytes(32).toString('hex')
  const sandboxID = newID('sandbox')
  const init = { sandboxID, templateID: 'template', accessToken, envVars: {}, hostname: 'template' }
  await alive(node.guest.init(address, made.controlSecret, init, signal))
  await alive(node.guest.exercise(address, accessToken, signal))
  made.say('exercised')
}
