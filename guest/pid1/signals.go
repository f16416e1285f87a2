package pid1

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// How long processes have to end by themselves before the guest goes down.
const shutdownGrace = 2 * time.Second

// watchSignals takes every signal that would otherwise end the Go runtime: the end of PID 1 is a kernel panic, and
// anyone with root in the guest may send one. SIGTERM and SIGPWR power off, SIGINT (Ctrl-Alt-Del) restarts, the rest is ignored.
func watchSignals() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE,
		unix.SIGUSR1, unix.SIGSEGV, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM, unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ,
		unix.SIGVTALRM, unix.SIGPWR, unix.SIGSYS)
	go func() {
		for received := range signals {
			switch received {
			case unix.SIGTERM, unix.SIGPWR:
				shutDown(unix.LINUX_REBOOT_CMD_POWER_OFF)
			case unix.SIGINT:
				shutDown(unix.LINUX_REBOOT_CMD_RESTART)
			}
		}
	}()
}

func shutDown(how int) {
	_ = unix.Kill(-1, unix.SIGTERM) // no process left is no failure
	for start := time.Now(); time.Since(start) < shutdownGrace && unix.Kill(-1, 0) == nil; {
		time.Sleep(10 * time.Millisecond)
	}
	_ = unix.Kill(-1, unix.SIGKILL)
	unix.Sync()
	_ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	_ = unix.Reboot(how)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // a machine without a power switch ends at a restart
}
