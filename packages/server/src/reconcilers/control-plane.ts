// Everything of the control plane that runs by itself: it listens to workers, sends orders, and keeps the reconcilers going.
import { subjects } from '@lelantos-ai/contract'
import type { Context } from '../context.ts'
import { takeReport } from '../workers/reports.ts'
import { StatementReader } from '../workers/statements.ts'
import { type DispatchOptions, Dispatcher } from './dispatcher.ts'
import { holdings } from './holdings.ts'
import { housekeeping } from './housekeeping.ts'
import { startLoop } from './loop.ts'
import { overdue } from './overdue.ts'
import { reaper } from './reaper.ts'
import { silenceOf } from './silence.ts'

/** Starts it all; disposing stops in order, and leaves what is not settled to the next start. */
export async function startControlPlane(context: Context, options: DispatchOptions = {}): Promise<AsyncDisposable> {
  await using started = new AsyncDisposableStack()
  const { bus, installation } = context
  const dispatcher = started.use(new Dispatcher(context, options))
  const statements = new StatementReader(context)
  started.use(await bus.reply(subjects.report(installation), (message) => takeReport(context, message)))
  started.use(await bus.watch(subjects.statement(installation), (message) => void statements.read(message)))
  const reconcilers = [housekeeping, dispatcher, reaper, overdue, silenceOf(context.clock()), holdings]
  for (const reconciler of reconcilers) started.use(startLoop(context, reconciler))
  return started.move()
}
