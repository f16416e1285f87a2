// Package reaper starts processes and owns every wait of this process.
//
// PID 1 inherits orphans whose end it must collect, so one loop calls wait4(-1). Nothing else may wait: os/exec beside
// it would lose statuses to the loop, which is why this package is the only one that forks.
package reaper

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper forks, and tells how each of its processes ended.
type Reaper struct {
	mu       sync.Mutex
	waiting  map[int]chan syscall.WaitStatus
	childEnd chan os.Signal
}

// New starts the loop. There must be one Reaper per operating system process.
func New() *Reaper {
	r := &Reaper{waiting: map[int]chan syscall.WaitStatus{}, childEnd: make(chan os.Signal, 1)}
	signal.Notify(r.childEnd, syscall.SIGCHLD)
	go r.loop()
	return r
}

// Start forks and executes argv[0], an absolute path. The channel yields the status once.
func (r *Reaper) Start(argv []string, attr *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	ended := make(chan syscall.WaitStatus, 1)
	// The lock spans the fork: a child that ends at once must find its entry in the table.
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	r.waiting[pid] = ended
	return pid, ended, nil
}

// Signal sends to the process's group while the process has not been reaped, so that a pid used again is never hit.
// Processes are leaders of their session, so the group is what they started. False when it has already ended.
func (r *Reaper) Signal(pid int, sig syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, alive := r.waiting[pid]; !alive {
		return false
	}
	return syscall.Kill(-pid, sig) == nil
}

func (r *Reaper) loop() {
	for range r.childEnd {
		for r.reapOne() {
		}
	}
}

func (r *Reaper) reapOne() bool {
	var status syscall.WaitStatus
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err == syscall.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if ended, ours := r.waiting[pid]; ours {
		delete(r.waiting, pid)
		ended <- status
	}
	return true
}
