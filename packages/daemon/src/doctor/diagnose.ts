// `doctor`: looks at everything that sandboxes need on this machine, by trying it.
import { tscKHz } from '@lelantos-ai/worker/host/tsc'
import { artifacts, missingSteps } from '../setup/setup.ts'
import type { SetupOptions } from '../setup/setup.ts'
import { kvmWorks } from './accelerator.ts'
import { type Finding, missing, ok, warning } from './finding.ts'
import { checkNetwork, checkPort, checkVolume } from './host.ts'
import { checkCgroups, checkDisk, checkMemory, checkProcessor, checkRelease, checkRoot } from './machine.ts'
import { probe } from './probe.ts'

export interface DiagnoseOptions extends SetupOptions {
  readonly host: string
  readonly port: number
}

/** Looks at it all; every finding is reported as soon as it is made, and returned. Changes nothing that it does not undo. */
export async function diagnose(
  options: DiagnoseOptions,
  found: (finding: Finding) => void = () => {},
): Promise<Finding[]> {
  const findings: Finding[] = []
  const add = (...more: Finding[]): void => {
    for (const finding of more) {
      findings.push(finding)
      found(finding)
    }
  }
  const root = checkRoot()
  add(root, checkProcessor(), await checkRelease(), checkMemory(), await checkDisk(options.home), await checkCgroups())
  add(await checkPort(options.host, options.port))
  if (root.state !== 'ok') return findings // the rest cannot be tried
  add(await checkSetup(options))
  add(...(await checkNetwork()), await checkVolume(options.home))
  add(...(await checkEngines(options)))
  return findings
}

async function checkSetup(options: SetupOptions): Promise<Finding> {
  const steps = await missingSteps(options)
  if (steps.length === 0) return ok('setup', 'everything is installed and made')
  return missing('setup', `not done: ${steps.join(', ')}`, './lelantos setup')
}

/** Boots a guest under each accelerator. One that works is enough. */
async function checkEngines(options: SetupOptions): Promise<Finding[]> {
  const files = await artifacts(options).catch(() => undefined)
  if (files === undefined) return [missing('engine', 'unknown until there is a kernel to boot', './lelantos setup')]
  const findings: Finding[] = []
  const kvm = await kvmWorks(options, files, 'ignored')
  findings.push(
    kvm.works
      ? ok('engine: qemu with KVM', kvm.why)
      : warning('engine: qemu with KVM', `${kvm.why}; guests are translated instead, several times slower`),
  )
  findings.push(checkClock())
  const tcg = await probe('tcg', files)
  findings.push((tcg.works ? ok : kvm.works ? warning : missing)('engine: qemu with TCG', tcg.why))
  const chosen = kvm.works ? 'qemu with KVM' : 'qemu with TCG'
  findings.push(
    kvm.works || tcg.works ? ok('engine', `${chosen} is used`) : missing('engine', 'no engine boots a guest here'),
  )
  return findings
}

function checkClock(): Finding {
  try {
    return ok('clock', `the time-stamp counter runs at ${(tscKHz() / 1000).toFixed(3)} MHz`)
  } catch (error) {
    return missing('clock', error instanceof Error ? error.message : String(error))
  }
}
