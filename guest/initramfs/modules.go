package initramfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel unpacks .ko.xz itself (MODULE_INIT_COMPRESSED_FILE).
const compressed = 4

// loadModules loads what /mods/order names, in that order, since a module's dependencies come before it. One that does not
// load is reported and skipped: a guest without nftables is worth more than none.
func loadModules() {
	list, err := os.ReadFile(filepath.Join(modulesFolder, "order"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "lelantosd: modules: %v\n", err)
		return
	}
	start := time.Now()
	loaded := 0
	for _, name := range strings.Fields(string(list)) {
		if err := loadModule(filepath.Join(modulesFolder, filepath.Base(name))); err != nil {
			fmt.Fprintf(os.Stderr, "lelantosd: module %s: %v\n", name, err)
			continue
		}
		loaded++
	}
	fmt.Fprintf(os.Stderr, "lelantosd: %d modules in %d ms\n", loaded, time.Since(start).Milliseconds())
}

func loadModule(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	flags := 0
	if strings.HasSuffix(path, ".xz") {
		flags = compressed
	}
	if err := unix.FinitModule(fd, "", flags); err != nil && err != unix.EEXIST { // built in, or listed twice
		return err
	}
	return nil
}
