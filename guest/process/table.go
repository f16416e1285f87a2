package process

import (
	"cmp"
	"slices"
	"sync"

	"lelantos.ai/guest/reaper"
)

// Table finds processes by pid or tag.
type Table struct {
	Reaper *reaper.Reaper
	// Cgroup is a descriptor of the cgroup folder that processes are born into, apart from the daemon; 0 for none.
	Cgroup int

	mu    sync.Mutex
	byPID map[int]*Process
}

// NewTable is empty.
func NewTable(reaper *reaper.Reaper, cgroup int) *Table {
	return &Table{Reaper: reaper, Cgroup: cgroup, byPID: map[int]*Process{}}
}

func (t *Table) add(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byPID[p.PID] = p // a pid used again takes the place of the one that ended
}

func (t *Table) forget(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPID[p.PID] == p {
		delete(t.byPID, p.PID)
	}
}

// Running lists processes that have not ended, by pid.
func (t *Table) Running() []*Process {
	var running []*Process
	for _, p := range t.all() {
		if !p.Ended() {
			running = append(running, p)
		}
	}
	slices.SortFunc(running, func(a, b *Process) int { return cmp.Compare(a.PID, b.PID) })
	return running
}

func (t *Table) all() []*Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Process, 0, len(t.byPID))
	for _, p := range t.byPID {
		all = append(all, p)
	}
	return all
}

// ByPID finds a process that runs or ended less than 30 s ago.
func (t *Table) ByPID(pid int) (*Process, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.byPID[pid]
	return p, ok
}

// ByTag prefers one that runs.
func (t *Table) ByTag(tag string) (*Process, bool) {
	var ended *Process
	for _, p := range t.all() {
		if p.Command.Tag == nil || *p.Command.Tag != tag {
			continue
		}
		if !p.Ended() {
			return p, true
		}
		ended = p
	}
	return ended, ended != nil
}
