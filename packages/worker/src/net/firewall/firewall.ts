// The firewall of an installation: a table of its own, passage through the firewalls that were there before, forwarding,
// and the address of the DNS relay.
import { readFile, writeFile } from 'node:fs/promises'
import type { Log } from '@lelantos-ai/contract'
import { command } from '../../host/command.ts'
import { closePassage, openPassage } from './passage.ts'
import { firewallRules, firewallTable, type FirewallRules } from './rules.ts'

export interface Firewall {
  /** With `keep` everything stays as it is. Forwarding stays on either way: others may have come to rely on it. */
  close(options: { readonly keep: boolean }): Promise<void>
}

const COMMAND_MS = 30_000
/** Docker and its like make their chains anew when they restart, without what others had put there. */
const PASSAGE_CHECK_MS = 30_000
const FORWARDING = '/proc/sys/net/ipv4/ip_forward'

export async function openFirewall(options: FirewallRules & { readonly log: Log }): Promise<Firewall> {
  const { installation, relay, log } = options
  await command('nft', ['-f', '-'], { deadlineMs: COMMAND_MS, input: firewallRules(options) })
  await command('ip', ['addr', 'replace', `${relay}/32`, 'dev', 'lo'], { deadlineMs: COMMAND_MS })
  if ((await readFile(FORWARDING, 'utf8')).trim() !== '1') await writeFile(FORWARDING, '1')
  await openPassage(installation, log)

  let checking = Promise.resolve()
  const timer = setInterval(() => {
    checking = openPassage(installation, log).catch((err: unknown) => {
      log.warn({ err }, 'the rules of other firewalls could not be looked at')
    })
  }, PASSAGE_CHECK_MS).unref()

  return {
    close: async ({ keep }) => {
      clearInterval(timer)
      await checking
      if (keep) return
      await closePassage(installation)
      const table = `inet ${firewallTable(installation)}`
      // Declared first, so that deleting it succeeds whether it is there or not.
      await command('nft', ['-f', '-'], { deadlineMs: COMMAND_MS, input: `table ${table}\ndelete table ${table}\n` })
      await command('ip', ['-force', '-batch', '-'], {
        deadlineMs: COMMAND_MS,
        input: `addr replace ${relay}/32 dev lo\naddr del ${relay}/32 dev lo\n`,
      })
    },
  }
}
