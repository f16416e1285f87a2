#!/usr/bin/env -S node --conditions=source
// `lelantos`: what a person or a script does with sandboxes. Data goes to stdout, words to stderr, and what happened into
// the exit code (`exit.ts`). Commands are imported when they are called, so that --help is quick.
import module from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'

// A folder of the user's own: what is cached in the shared one for temporary files, others could have put there.
module.enableCompileCache(join(homedir(), '.cache', 'lelantos'))
const { execute } = await import('./execute.ts')
// Not by the event loop's end: a terminal or pipe on stdin that nobody closes would keep it open.
process.exit(await execute(process.argv.slice(2)))
