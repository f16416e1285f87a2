import { readdir, readFile, readlink } from 'node:fs/promises'

/** Processes that keep a folder's mount busy, as `name (pid)`: by an open or mapped file, their working folder, root or program. */
export async function holders(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (!(await holds(pid, folder))) continue
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'a process')
    found.push(`${name.trim()} (${pid})`)
  }
  return found
}

async function holds(pid: string, folder: string): Promise<boolean> {
  const inside = (path: string) => path === folder || path.startsWith(`${folder}/`)
  const links = ['cwd', 'root', 'exe', ...(await readdir(`/proc/${pid}/fd`).catch(() => [])).map((fd) => `fd/${fd}`)]
  for (const link of links) {
    if (inside(await readlink(`/proc/${pid}/${link}`).catch(() => ''))) return true
  }
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '')
  return maps.includes(` ${folder}/`)
}
