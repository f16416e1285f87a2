// The smallest guest that the engine suite needs: a static /init that loads the modules in /mods, mounts the disk, sets the
// network up and answers over HTTP. It counts while it runs, keeps random bytes in memory and writes files, so that
// a test can tell whether a restored machine is the one that was saved.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const port = ":49983"

var (
	counter atomic.Int64
	memory  []byte
)

func must(err error, what string) {
	if err != nil {
		fmt.Println("guest:", what, err)
		time.Sleep(time.Second)
		panic(err)
	}
}

func main() {
	must(syscall.Mount("dev", "/dev", "devtmpfs", 0, ""), "mount /dev")
	loadModules()
	waitFor("/dev/vda")
	must(syscall.Mount("/dev/vda", "/newroot", "ext4", syscall.MS_NOATIME, "discard"), "mount the disk")
	network()
	go func() {
		for {
			counter.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	http.HandleFunc("/counter", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, counter.Load()) })
	http.HandleFunc("POST /memory", func(w http.ResponseWriter, r *http.Request) {
		memory = make([]byte, size(r))
		rand.Read(memory)
		fmt.Fprintf(w, "%x", sha256.Sum256(memory))
	})
	http.HandleFunc("GET /memory", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%x", sha256.Sum256(memory)) })
	http.HandleFunc("POST /file", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, writeFile(path(r), size(r))) })
	http.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hashFile(path(r))) })
	http.HandleFunc("POST /poweroff", func(http.ResponseWriter, *http.Request) { syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF) })
	http.HandleFunc("POST /reboot", func(http.ResponseWriter, *http.Request) { syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART) })
	must(http.ListenAndServe(port, nil), "listen")
}

func path(r *http.Request) string { return "/newroot/" + r.FormValue("name") }

func size(r *http.Request) int {
	n, _ := strconv.Atoi(r.FormValue("bytes"))
	return n
}

// writeFile writes random bytes through to the disk and drops them from the page cache, so that reading them again reads the disk.
func writeFile(path string, bytes int) string {
	f, err := os.Create(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, hash), rand.Reader, int64(bytes)); err != nil {
		return err.Error()
	}
	if err := f.Sync(); err != nil {
		return err.Error()
	}
	const dontNeed = 4
	syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0)
	return fmt.Sprintf("%x", hash.Sum(nil))
}

func hashFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

func loadModules() {
	order, err := os.ReadFile("/mods/order")
	must(err, "read /mods/order")
	const finitModule = 313
	const compressed = 4
	empty := []byte{0}
	for _, name := range strings.Fields(string(order)) {
		f, err := os.Open("/mods/" + name)
		must(err, name)
		flags := uintptr(0)
		if strings.HasSuffix(name, ".xz") {
			flags = compressed
		}
		if _, _, e := syscall.Syscall(finitModule, f.Fd(), uintptr(unsafe.Pointer(&empty[0])), flags); e != 0 {
			must(e, name)
		}
		f.Close()
	}
}

func waitFor(path string) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	must(os.ErrNotExist, path)
}

// network gives lo and eth0 their addresses by ioctl; there is no route, since only the tap's side is spoken to.
func network() {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	must(err, "socket")
	defer syscall.Close(s)
	ioctl := func(name string, request uintptr, value []byte) {
		var req [40]byte // struct ifreq
		copy(req[:], name)
		copy(req[16:], value)
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), request, uintptr(unsafe.Pointer(&req[0]))); e != 0 {
			must(e, name)
		}
	}
	address := func(a, b, c, d byte) []byte { return []byte{syscall.AF_INET, 0, 0, 0, a, b, c, d} }
	up := []byte{syscall.IFF_UP | syscall.IFF_RUNNING, 0}
	ioctl("lo", syscall.SIOCSIFFLAGS, up)
	ioctl("eth0", syscall.SIOCSIFADDR, address(169, 254, 0, 21))
	ioctl("eth0", syscall.SIOCSIFNETMASK, address(255, 255, 255, 252))
	ioctl("eth0", syscall.SIOCSIFFLAGS, up)
}
