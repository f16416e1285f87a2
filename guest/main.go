// lelantosd is the daemon in every guest, in three phases: /init of the initramfs, PID 1, and E2B's envd wire.
//
//	/init                as PID 1 of the initramfs: modules, disk, switch of root
//	lelantosd pid1       as PID 1 of the image: mounts, network, then the wire on port 49983
//	lelantosd serve      as an ordinary process: the wire alone
//	lelantosd version    the envd version whose wire it speaks
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/envd"
	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/initramfs"
	"lelantos.ai/guest/machine"
	"lelantos.ai/guest/pid1"
	"lelantos.ai/guest/process"
	"lelantos.ai/guest/reaper"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("lelantosd: ")
	// A guest has little memory, and what the daemon touches is in every snapshot.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(96 << 20)
	phase := ""
	if len(os.Args) > 1 {
		phase = os.Args[1]
	}
	switch {
	case os.Getpid() == 1 && phase == "pid1":
		runGuest()
	case os.Getpid() == 1:
		err := initramfs.Run()
		log.Printf("boot failed: %v", err)
		time.Sleep(time.Second) // for the console to be read; the end of PID 1 then ends the machine
		os.Exit(1)
	case phase == "serve":
		serve(os.Args[2:])
	case phase == "version":
		fmt.Println(envd.Version)
	default:
		fmt.Fprintln(os.Stderr, "usage: lelantosd serve [--listen ADDRESS] [--control-secret HEX] | version")
		os.Exit(2)
	}
}

func runGuest() {
	system := pid1.Set()
	handler := newHandler(system.ControlSecret, machine.Guest{}, system.Cgroup)
	for { // PID 1 must not end
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", envd.Port))
		if err == nil {
			log.Printf("listening on port %d", envd.Port)
			err = envd.Serve(listener, handler)
		}
		log.Printf("serve: %v", err)
		time.Sleep(100 * time.Millisecond)
	}
}

func newHandler(secret string, m machine.Machine, cgroup int) http.Handler {
	s := &sandbox.Sandbox{Accounts: accounts.New("/etc/passwd", "/etc/group"), ControlSecret: secret}
	return envd.Handler(s, process.NewTable(reaper.New(), cgroup), m)
}

func serve(arguments []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	address := flags.String("listen", fmt.Sprintf("127.0.0.1:%d", envd.Port), "address and port; port 0 takes a free one")
	secret := flags.String("control-secret", "", "opens /init and /sync; without one they are open to all")
	_ = flags.Parse(arguments) // exits by itself
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(envd.Serve(listener, newHandler(*secret, machine.Borrowed{}, 0)))
}
