// Commands of the host: the ./lelantos launcher takes them before this program sees them. They are told of here, since
// people ask one help for both.

export const hostCommands: Readonly<Record<string, string>> = {
  up: 'install what is missing, start the installation, prove that it works',
  down: 'pause what runs and stop (--kill, --keep-vms)',
  doctor: 'which engine this machine can use, and what is missing',
  env: 'the variables that point programs here: eval "$(./lelantos env)"',
  inspect: 'what of a sandbox is on this host: process, network, files',
  setup: 'install what is missing, and start nothing',
  test: 'install what the tests need, and run them all',
}

export const hostHelp = `On the host (./lelantos NAME, as root):
${Object.entries(hostCommands)
  .map(([name, what]) => `  ${name.padEnd(20)}${what}`)
  .join('\n')}`
