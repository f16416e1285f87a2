// Secrets of an installation: what is derived from its key, how values are sealed, how tokens are compared. The key itself
// is 32 bytes in the state folder; server and worker hold it, no guest and no database ever does.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'

/** Opens a sandbox's in-VM API. Derived from the id, so it is stored nowhere and always the same. 64 hex digits. */
export function envdAccessToken(installationKey: Uint8Array, sandboxID: string): string {
  return createHmac('sha256', installationKey).update(`envd:${sandboxID}`).digest('hex')
}

/** What of an API key is stored: SHA-256 of its 40 hex digits, so that `lel_` and `e2b_` name the same key. */
export function hashAPIKey(key: string): string {
  return createHash('sha256')
    .update(key.replace(/^(lel|e2b)_/, ''))
    .digest('hex')
}

/** Compares secrets in a time that depends on neither. */
export function equalSecrets(left: string, right: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(left), digest(right))
}

function sealingKey(installationKey: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', installationKey, '', 'lelantos sealed values', 32))
}

/** Seals text with AES-256-GCM: base64 of nonce (12 bytes), tag (16) and cipher text. `context` (a sandbox's id) must be the same to open it. */
export function seal(installationKey: Uint8Array, context: string, text: string): string {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', sealingKey(installationKey), nonce).setAAD(Buffer.from(context))
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64')
}

/** Opens what `seal` made. Throws if key, context or a bit of it is wrong. */
export function unseal(installationKey: Uint8Array, context: string, sealed: string): string {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(installationKey), bytes.subarray(0, 12))
    .setAAD(Buffer.from(context))
    .setAuthTag(bytes.subarray(12, 28))
  return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8')
}
