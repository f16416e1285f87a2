/** When a timeout that starts now ends; null for never. */
export function endAfter(now: Date, timeoutSeconds: number): Date | null {
  return timeoutSeconds === 0 ? null : new Date(now.getTime() + timeoutSeconds * 1000)
}
