export { httpGuest } from './guest/http-guest.ts'
export type { Clock, Ports } from './node.ts'
export { buildOf, type TemplateSource } from './templates.ts'
export { type Inspection, startWorker, type Worker, type WorkerOptions } from './worker.ts'
