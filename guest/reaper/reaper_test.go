package reaper

import (
	"os"
	"syscall"
	"testing"
	"time"
)

var shared = New() // one per process

func start(t *testing.T, script string) (int, <-chan syscall.WaitStatus) {
	t.Helper()
	attr := &syscall.ProcAttr{Dir: "/", Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}}
	pid, ended, err := shared.Start([]string{"/bin/sh", "-c", script}, attr)
	if err != nil {
		t.Fatal(err)
	}
	return pid, ended
}

func await(t *testing.T, ended <-chan syscall.WaitStatus) syscall.WaitStatus {
	t.Helper()
	select {
	case status := <-ended:
		return status
	case <-time.After(10 * time.Second):
		t.Fatal("the end was not reported within 10 s")
		panic("unreachable")
	}
}

func TestEveryStatusReachesItsStarter(t *testing.T) {
	var all [40]<-chan syscall.WaitStatus
	for n := range all { // ends come together: signals merge, statuses must not
		_, all[n] = start(t, "exit "+string(rune('0'+n%10)))
	}
	for n, ended := range all {
		if status := await(t, ended); status.ExitStatus() != n%10 {
			t.Errorf("process %d: %d", n, status.ExitStatus())
		}
	}
}

func TestSignalReachesTheGroupAndOnlyTheLiving(t *testing.T) {
	pid, ended := start(t, "sleep 60 & wait")
	if !shared.Signal(pid, syscall.SIGKILL) {
		t.Fatal("the process was not there to be signalled")
	}
	if status := await(t, ended); status.Signal() != syscall.SIGKILL {
		t.Errorf("status %v", status)
	}
	if shared.Signal(pid, syscall.SIGKILL) {
		t.Error("a reaped process took a signal")
	}
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(-pid, 0) == nil { // the child of the shell, an orphan of whoever adopts it
		if time.Now().After(deadline) {
			t.Fatal("the group outlived the signal")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStartFailsWithoutAnEntry(t *testing.T) {
	if _, _, err := shared.Start([]string{"/nonexistent"}, &syscall.ProcAttr{}); !os.IsNotExist(unwrap(err)) {
		t.Errorf("error %v", err)
	}
	if len(shared.waiting) != 0 {
		t.Errorf("%d entries are left", len(shared.waiting))
	}
}

func unwrap(err error) error {
	if wrapped, ok := err.(interface{ Unwrap() error }); ok {
		return wrapped.Unwrap()
	}
	return err
}
