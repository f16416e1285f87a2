// Package machine changes what makes a restored guest unique and on time: the kernel's random pool, clock, names.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Machine is what /init sets before the guest may be used. Each call returns when the kernel has confirmed it.
type Machine interface {
	// Reseed mixes 32 fresh bytes into the kernel's pool and makes every generator start anew from it.
	Reseed(entropy []byte) error
	// SetClock sets the wall clock when it is more than 50 ms off.
	SetClock(now time.Time) error
	SetHostname(name string) error
	// SetFacts leaves the sandbox's ids where programs look for them, `/run/e2b`.
	SetFacts(sandboxID, templateID string) error
}

// Guest is the machine that PID 1 is in.
type Guest struct{}

const clockTolerance = 50 * time.Millisecond

// Clones of one snapshot share their generators' state: until this has been done, their random numbers are the same.
func (Guest) Reseed(entropy []byte) error {
	device, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer device.Close()
	pool := make([]int32, 2+(len(entropy)+3)/4) // struct rand_pool_info: bits credited, bytes, the bytes
	pool[0], pool[1] = int32(len(entropy)*8), int32(len(entropy))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&pool[2])), len(entropy)), entropy)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&pool[0])))
	runtime.KeepAlive(pool)
	if errno != 0 {
		return fmt.Errorf("RNDADDENTROPY: %w", errno)
	}
	const reseedCRNG = 0x5207 // RNDRESEEDCRNG
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), reseedCRNG, 0); errno != 0 {
		return fmt.Errorf("RNDRESEEDCRNG: %w", errno)
	}
	return nil
}

func (Guest) SetClock(now time.Time) error {
	if time.Until(now).Abs() <= clockTolerance {
		return nil
	}
	timespec := unix.NsecToTimespec(now.UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &timespec)
}

// SetHostname also names the host in /etc/hosts: a name that does not resolve makes each sudo wait for DNS. A resume keeps
// its name and so writes nothing: a sandbox whose disk is full must wake up too.
func (Guest) SetHostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	if err := replace("/etc/hostname", []byte(name+"\n")); err != nil {
		return err
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return replace("/etc/hosts", withHostname(hosts, name))
}

// replace changes a file in place, before it cuts it: on a full disk there are no blocks to be had for a new one.
func replace(path string, content []byte) error {
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, content) {
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Truncate(int64(len(content)))
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

const hostsMark = "# this sandbox"

func withHostname(hosts []byte, name string) []byte {
	var lines []string
	hasLocalhost := false
	for line := range strings.Lines(string(hosts)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasSuffix(line, hostsMark) {
			continue
		}
		fields := strings.Fields(line)
		hasLocalhost = hasLocalhost || len(fields) > 1 && fields[0] == "127.0.0.1" && fields[1] == "localhost"
		lines = append(lines, line)
	}
	if !hasLocalhost {
		lines = append([]string{"127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"}, lines...)
	}
	lines = append(lines, fmt.Sprintf("127.0.1.1 %s %s", name, hostsMark))
	return []byte(strings.Join(lines, "\n") + "\n")
}

const factsFolder = "/run/e2b"

func (Guest) SetFacts(sandboxID, templateID string) error {
	if err := os.MkdirAll(factsFolder, 0o755); err != nil {
		return err
	}
	for name, value := range map[string]string{
		".E2B_SANDBOX": "true", ".E2B_SANDBOX_ID": sandboxID, ".E2B_TEMPLATE_ID": templateID,
	} {
		if err := os.WriteFile(filepath.Join(factsFolder, name), []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Borrowed is a machine that is not the daemon's to change: an ordinary process leaves clock, names and random pool of its
// host alone.
type Borrowed struct{}

func (Borrowed) Reseed([]byte) error           { return nil }
func (Borrowed) SetClock(time.Time) error      { return nil }
func (Borrowed) SetHostname(string) error      { return nil }
func (Borrowed) SetFacts(string, string) error { return nil }
