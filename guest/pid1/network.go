package pid1

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Every guest has the same addresses, as in the contract's guestNetwork: one snapshot fits every slot.
var (
	guestAddress = netip.MustParseAddr("169.254.0.21")
	gateway      = netip.MustParseAddr("169.254.0.22")
	netmask      = netip.MustParseAddr("255.255.255.252")
)

const networkInterface = "eth0"

// configureNetwork talks to the kernel by ioctl: images need no tool of their own. A guest without a network card still
// gets its loopback.
func configureNetwork() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(socket)
	return errors.Join(
		setFlagsUp(socket, "lo"),
		configureEthernet(socket),
		writeResolvConf(),
	)
}

func configureEthernet(socket int) error {
	if err := setAddress(socket, unix.SIOCSIFADDR, guestAddress); err != nil {
		return fmt.Errorf("%s address: %w", networkInterface, err)
	}
	if err := setAddress(socket, unix.SIOCSIFNETMASK, netmask); err != nil {
		return fmt.Errorf("%s netmask: %w", networkInterface, err)
	}
	if err := setFlagsUp(socket, networkInterface); err != nil {
		return err
	}
	return addDefaultRoute(socket)
}

func setFlagsUp(socket int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("%s up: %w", name, err)
	}
	return nil
}

func setAddress(socket int, call uint, address netip.Addr) error {
	request, err := unix.NewIfreq(networkInterface)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(address.AsSlice()); err != nil {
		return err
	}
	return unix.IoctlIfreq(socket, call, request)
}

// rtentry is the kernel's struct of that name on 64-bit machines.
type rtentry struct {
	_           uint64
	destination unix.RawSockaddrInet4
	gateway     unix.RawSockaddrInet4
	mask        unix.RawSockaddrInet4
	flags       uint16
	_           [62]byte
}

func addDefaultRoute(socket int) error {
	any := unix.RawSockaddrInet4{Family: unix.AF_INET}
	route := rtentry{destination: any, mask: any, gateway: any, flags: unix.RTF_UP | unix.RTF_GATEWAY}
	route.gateway.Addr = gateway.As4()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCADDRT, uintptr(unsafe.Pointer(&route)))
	if errno != 0 && errno != unix.EEXIST {
		return fmt.Errorf("default route: %w", errno)
	}
	return nil
}

// writeResolvConf replaces a link into a resolver's folder too: no resolver runs here, the slot relays DNS.
func writeResolvConf() error {
	const path = "/etc/resolv.conf"
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte("nameserver "+gateway.String()+"\n"), 0o644)
}
