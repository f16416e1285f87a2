// The rate of this machine's time-stamp counter. A guest under TCG reads the host's counter, must be told its rate at boot
// (it cannot calibrate reliably on a busy host), and keeps it in a snapshot: its clock drifts by what the rate is wrong.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

/**
 * kHz, right within 20 ppm or so. From the kernel's own figure where it gives one, else measured. Throws when this machine
 * gives no way to know.
 */
export function tscKHz(): number {
  for (const source of [fromPerfPage, fromKernelLog, measured, fromCpuInfo]) {
    const kHz = source()
    // Anything else is not a rate that a processor has had.
    if (kHz !== undefined && kHz > 100_000 && kHz < 10_000_000) return Math.round(kHz)
  }
  throw new Error(
    'the rate of the time-stamp counter is unknown: neither perf, the kernel log, the msr counter nor /proc/cpuinfo tells it',
  )
}

// Perl is part of every Debian, can make system calls, and starts in 10 ms. perf_event_attr is 112 bytes: type, size, config.
const OPEN = `sub event { my ($type,$config,$pid,$cpu)=@_; my $attr=pack("LLQ",$type,112,$config); $attr.="\\0"x(112-length $attr);
  my $fd=syscall(298,$attr,$pid,$cpu,-1,8); exit 1 if $fd<0; $fd }`

// The page of an event of the kernel's own (type 1, a dummy) holds the factors by which counter values become nanoseconds:
// ns = (cycles * time_mult) >> time_shift (perf_event_open(2)). They are zero where the kernel's clock is not the counter.
const PAGE = `${OPEN} my $fd=event(1,9,0,-1); my $at=syscall(9,0,4096,1,1,$fd,0); exit 1 if $at==-1;
  my ($shift,$mult)=(unpack("LLLLqQQQSSL",unpack("P64",pack("Q",$at))))[9,10]; exit 1 unless $mult; print 1e6*2**$shift/$mult`

// The counter as an event, read beside CLOCK_MONOTONIC_RAW at both ends of 200 ms; of 20 readings the one that took least.
const MEASURE = `${OPEN} open(my $t,"<","/sys/bus/event_source/devices/msr/type") or exit 1; my $fd=event(<$t>+0,0,-1,0);
  sub both { my ($a,$n,$b)=("\\0"x16,"\\0"x8,"\\0"x16); syscall(228,4,$a); syscall(0,$fd,$n,8)==8 or exit 1; syscall(228,4,$b);
    my ($s,$u)=unpack("qq",$a); my ($v,$w)=unpack("qq",$b); (unpack("Q",$n),(($s+$v)*1e9+$u+$w)/2,($v-$s)*1e9+$w-$u) }
  sub best { my @best; for (1..20) { my @r=both(); @best=@r if !@best or $r[2]<$best[2] } @best }
  my @a=best(); select(undef,undef,undef,0.2); my @b=best(); printf "%.3f",($b[0]-$a[0])/($b[1]-$a[1])*1e6`

function fromPerfPage(): number | undefined {
  return perl(PAGE)
}

function measured(): number | undefined {
  return perl(MEASURE)
}

function perl(program: string): number | undefined {
  return asked('perl', ['-e', program], /^([\d.]+)$/)
}

function fromKernelLog(): number | undefined {
  const options = ['--notime', '--level', 'info,notice,debug']
  const mHz =
    asked('dmesg', options, /tsc: Refined TSC clocksource calibration: ([\d.]+) MHz/) ??
    asked('dmesg', options, /tsc: Detected ([\d.]+) MHz (?:TSC|processor)/)
  return mHz === undefined ? undefined : mHz * 1000
}

/** In a virtual machine without frequency scaling the processor's frequency is the counter's; elsewhere it is not. */
function fromCpuInfo(): number | undefined {
  const text = readFileSync('/proc/cpuinfo', 'utf8')
  if (!/^flags.*\bhypervisor\b/m.test(text) || existsSync('/sys/devices/system/cpu/cpu0/cpufreq')) return undefined
  const mHz = /^cpu MHz\s*: ([\d.]+)$/m.exec(text)?.[1]
  return mHz === undefined ? undefined : Number(mHz) * 1000
}

function asked(program: string, args: string[], answer: RegExp): number | undefined {
  try {
    const text = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5000 })
    const match = answer.exec(text)?.[1]
    return match === undefined ? undefined : Number(match)
  } catch {
    return undefined // not installed, not allowed, or this kernel has no such event: the next source is asked
  }
}
