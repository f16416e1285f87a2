package pid1

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

const noExecutables = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// What a normal Debian has mounted; /dev and /run are there since the first phase, and /tmp is on the disk.
var mounts = []mount{
	{"proc", "/proc", "proc", noExecutables, ""},
	{"sysfs", "/sys", "sysfs", noExecutables, ""},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", noExecutables, "nsdelegate"},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", "mqueue", noExecutables, ""},
	{"tmpfs", "/run/lock", "tmpfs", noExecutables, "mode=1777,size=5m"},
}

// devtmpfs has none of the first; shells' process substitution needs them.
var links = map[string]string{
	"/etc/mtab": "../proc/self/mounts", "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
}

// mountAll goes on past what a kernel lacks, and says what that was.
func mountAll() error {
	// An image may be a lone program: the files that name hosts and resolvers need their folder.
	problems := []error{os.MkdirAll("/etc", 0o755)}
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			problems = append(problems, err)
			continue
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			problems = append(problems, fmt.Errorf("mount %s: %w", m.target, err))
		}
	}
	for link, target := range links {
		if err := os.Symlink(target, link); err != nil && !os.IsExist(err) {
			problems = append(problems, err)
		}
	}
	for _, folder := range []string{"/tmp", "/var/tmp"} {
		err := os.MkdirAll(folder, 0o755)
		if err == nil {
			err = os.Chmod(folder, os.ModeSticky|0o777)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// What systemd sets on a Debian, where it matters without one: links in /tmp that others left are not followed, and everyone
// may ping.
var settings = map[string]string{
	"fs/protected_symlinks": "1", "fs/protected_hardlinks": "1", "net/ipv4/ping_group_range": "0 2147483647",
}

func applySettings() error {
	var problems []error
	for name, value := range settings {
		problems = append(problems, os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0))
	}
	return errors.Join(problems...)
}

// processCgroup is where all processes of the sandbox live, so that what limits them never limits the daemon. 0 if the
// kernel has no cgroups.
func processCgroup() (int, error) {
	const folder = "/sys/fs/cgroup/sandbox"
	if err := os.Mkdir(folder, 0o755); err != nil && !os.IsExist(err) {
		return 0, err
	}
	fd, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, nil
}
