// Package initramfs is the first phase: /init of the initramfs, which finds the disk and becomes its PID 1.
package initramfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	modulesFolder = "/mods"
	secretFile    = "/control-secret"
	disk          = "/dev/vda"
	newRoot       = "/newroot"
	// Executable is where the daemon goes on from: in memory, since the image's disk is not its own to keep files on.
	Executable = "/run/lelantosd"
	// SecretDescriptor holds the control secret across the exec: neither argv nor environment nor a file ever shows it.
	SecretDescriptor = 3

	diskWait  = 10 * time.Second
	openFiles = 1 << 20
	secretMax = 1024
)

// Run switches to the disk's root and executes the second phase there. It returns only with an error, and then the guest
// cannot go on.
func Run() error {
	if err := os.MkdirAll("/dev", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("dev", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("mount devtmpfs: %w", err)
	}
	useConsole()
	if isProbe() {
		Probe()
	}
	loadModules()
	if err := waitForDisk(); err != nil {
		return err
	}
	if err := mountRoot(); err != nil {
		return err
	}
	if err := carryOver(); err != nil {
		return err
	}
	// What a login of a normal Debian has: 1024 files, and leave to have more.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1024, Max: openFiles})
	return switchRoot()
}

func useConsole() {
	console, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return // a kernel without a console has nobody to read it
	}
	for fd := range 3 {
		if fd != console {
			_ = unix.Dup3(console, fd, 0)
		}
	}
	if console > 2 {
		unix.Close(console)
	}
}

func waitForDisk() error {
	for start := time.Now(); time.Since(start) < diskWait; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(disk); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s did not appear within %s", disk, diskWait)
}

func mountRoot() error {
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk, newRoot, "ext4", unix.MS_NOATIME, "discard,noinit_itable"); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	for _, folder := range []string{"dev", "run"} {
		if err := os.MkdirAll(filepath.Join(newRoot, folder), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("run", newRoot+"/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

// carryOver takes the daemon and the control secret along, and frees the memory that the initramfs holds.
func carryOver() error {
	self, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	if err := os.WriteFile(newRoot+Executable, self, 0o755); err != nil {
		return err
	}
	secret, err := os.ReadFile(secretFile)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(secret) > secretMax {
		return fmt.Errorf("%s has %d bytes, at most %d are allowed", secretFile, len(secret), secretMax)
	}
	if err := keepSecret([]byte(strings.TrimSpace(string(secret)))); err != nil {
		return err
	}
	for _, path := range []string{secretFile, "/init", modulesFolder} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

func keepSecret(secret []byte) error {
	fd, err := unix.MemfdCreate("control-secret", 0)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	if _, err := unix.Write(fd, secret); err != nil {
		return err
	}
	if fd == SecretDescriptor {
		return nil
	}
	if err := unix.Dup3(fd, SecretDescriptor, 0); err != nil {
		return err
	}
	return unix.Close(fd)
}

func switchRoot() error {
	if err := unix.Mount("/dev", newRoot+"/dev", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move /dev: %w", err)
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	environment := []string{"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	return fmt.Errorf("exec %s: %w", Executable, unix.Exec(Executable, []string{Executable, "pid1"}, environment))
}
