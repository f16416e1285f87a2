// The host's resolvers, as /etc/resolv.conf names them now: DHCP clients, VPNs and people change it while guests run.
import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'

/** glibc looks at three; the relay does too. */
const RESOLVERS_MAX = 3

/** Whom the relay asks. */
export interface Upstream {
  readonly resolvers: Resolvers
  readonly port: number
}

/** Reads the file again whenever it is another or was changed. */
export class Resolvers {
  readonly #path: string
  readonly #except: string
  #version = ''
  #addresses: readonly string[] = []

  /** `except` is the relay's own address: asking itself would never end. */
  constructor(path: string, except: string) {
    this.#path = path
    this.#except = except
  }

  /** In order of preference. As for glibc, it is the one on loopback where the file is missing or names none. */
  async addresses(): Promise<readonly string[]> {
    let version = 'missing'
    try {
      // Following a symbolic link, which it is wherever a local resolver manages it.
      const { ino, size, mtimeNs } = await stat(this.#path, { bigint: true })
      version = `${ino} ${size} ${mtimeNs}`
      if (version !== this.#version) {
        this.#addresses = parseResolvConf(await readFile(this.#path, 'utf8'), this.#except)
        this.#version = version
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      this.#addresses = []
      this.#version = version
    }
    return this.#addresses.length > 0 ? this.#addresses : ['127.0.0.1']
  }
}

/** Addresses of the lines `nameserver ADDRESS`, at most three. Source: resolv.conf(5). */
export function parseResolvConf(text: string, except: string): string[] {
  const addresses = text
    .split('\n')
    .map((line) => /^nameserver[ \t]+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => isIP(address.split('%')[0] ?? '') !== 0 && address !== except)
  return addresses.slice(0, RESOLVERS_MAX)
}
