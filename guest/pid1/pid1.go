// Package pid1 is the second phase: it makes the disk's root a running system, from what the image brings and without any
// program in it.
package pid1

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"golang.org/x/sys/unix"

	"lelantos.ai/guest/initramfs"
	"lelantos.ai/guest/machine"
)

const firstHostname = "lelantos"

// System is what the third phase needs of the second.
type System struct {
	ControlSecret string
	// Cgroup is a descriptor of the cgroup that processes are born into, or 0.
	Cgroup int
}

// Set prepares the system. What fails is reported on the console and gone past: a guest that answers can be asked what is
// wrong with it.
func Set() System {
	watchSignals()
	unix.Umask(0o022)
	report("mounts", mountAll())
	report("settings", applySettings())
	report("network", configureNetwork())
	report("hostname", machine.Guest{}.SetHostname(firstHostname))
	cgroup, err := processCgroup()
	report("cgroup", err)
	secret, err := takeSecret()
	report("control secret", err)
	return System{ControlSecret: secret, Cgroup: cgroup}
}

func report(what string, err error) {
	if err != nil {
		log.Printf("%s: %v", what, err)
	}
}

// takeSecret reads what the first phase left in a descriptor. Without a secret it makes one that nobody knows: the control
// routes of a guest are never open.
func takeSecret() (string, error) {
	file := os.NewFile(initramfs.SecretDescriptor, "control secret")
	defer file.Close()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return unknownSecret(), fmt.Errorf("none was passed on: %w", err)
	}
	secret, err := io.ReadAll(file)
	if err != nil {
		return unknownSecret(), err
	}
	if len(secret) == 0 {
		return unknownSecret(), errors.New("the initramfs holds none")
	}
	return string(secret), nil
}

func unknownSecret() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return hex.EncodeToString(secret)
}
