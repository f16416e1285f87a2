export * from './client.ts'
export type { ClientOptions } from './configuration.ts'
export {
  AuthenticationError,
  CapacityError,
  type ClientErrorCode,
  ConflictError,
  ConnectionError,
  InvalidRequestError,
  LelantosError,
  NotFoundError,
  RateLimitError,
  TimeoutError,
  UnavailableError,
} from './errors.ts'
export type { CallOptions } from './http/api.ts'
export { createLelantos, type Lelantos } from './namespaced.ts'
export { Command, type CommandEvent, type Signal } from './sandbox/command.ts'
export type { CommandLine, CommandResult, RunOptions, StartOptions } from './sandbox/commands.ts'
export type { FileContent, FileEntry, FileOptions, ReadFormat } from './sandbox/files.ts'
export { SandboxHandle } from './sandbox/handle.ts'
export type { InputSource } from './sandbox/input.ts'
export type {
  CreatedKey,
  EndReason,
  ErrorCode,
  FileInfo,
  ListedKey,
  ListedSandbox,
  LogLine,
  Logs,
  NewSandbox,
  PublicState,
  SandboxDetail,
  Template,
} from './wire.ts'
