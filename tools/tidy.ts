// Rules of the house that no linter knows. Each names the file, the line and what to do. Exit code 1 when one is broken.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

interface Rule {
  readonly files: RegExp
  readonly except?: RegExp
  readonly pattern: RegExp
  readonly say: string
}

const SOURCE = /^(packages|tests|bench|tools|guest)\/.*\.(ts|tsx|go)$/

const rules: Rule[] = [
  {
    files: /package-lock\.json$/,
    pattern: /"resolved": "http/,
    say: 'a lock file names no registry: install with omit-lockfile-registry-resolved',
  },
  {
    files: SOURCE,
    except: /tools\/tidy\.ts$/,
    pattern: /\b(TODO|FIXME|XXX|HACK)\b/,
    say: 'finish it, or write it into an issue',
  },
  {
    files: /\.(ts|tsx)$/,
    pattern: /\b(Manager|Service|Helper|Handler|Impl)\b(?=\s*[{<(]|\s+(implements|extends))/,
    say: 'name what it does',
  },
  { files: /^packages\/server\/src\/(?!store\/).*(?<!\.test)\.ts$/, pattern: /\bsql`/, say: 'SQL lives in store/' },
  {
    files: /^packages\/worker\/src\/(?!engines\/).*(?<!\.test)\.ts$/,
    pattern: /['"`]qemu|firecracker['"`]/,
    say: "no code outside engines/<name> knows an engine's name",
  },
  { files: /\.test\.ts$/, pattern: /\b(it|test|describe)\.only\b/, say: 'a lone test hides the others' },
  {
    files: /^(packages|tests)\/.*\.ts$/,
    pattern: /\bsetTimeout\([^,]*resolve[^,]*,\s*\d{4,}/,
    say: 'wait for a predicate, not for a time',
  },
]

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter(Boolean)
let broken = 0
for (const file of files) {
  const applicable = rules.filter((rule) => rule.files.test(file) && !rule.except?.test(file))
  if (applicable.length === 0) continue
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    continue // listed by git, deleted in the work tree
  }
  text.split('\n').forEach((line, index) => {
    for (const rule of applicable) {
      if (!rule.pattern.test(line)) continue
      console.log(`${file}:${index + 1}: ${rule.say}`)
      broken++
    }
  })
}
// A promise that names a test which is not there is not kept by it.
for (const page of files.filter((file) => file.endsWith('.md'))) {
  for (const [, path = ''] of readFileSync(page, 'utf8').matchAll(
    /`((?:packages|tests|bench|tools|guest|templates)\/[\w./-]*)`/g,
  )) {
    if (existsSync(path)) continue
    console.log(`${page}: there is no ${path}`)
    broken++
  }
}
process.exit(broken === 0 ? 0 : 1)
