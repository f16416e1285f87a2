// Package process runs the commands of a sandbox and hands what they print to whoever listens.
//
//	Start -> start, data*, end -> kept 30 s -> forgotten
//
// A process belongs to nobody: a listener that leaves does not end it, and without a listener its output is read and
// dropped. A listener that is slow slows the process down, through its pipe, so no output is ever held beyond a few chunks.
package process

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lelantos.ai/guest/accounts"
)

// ChunkBytesMax is the most that one data event carries.
const ChunkBytesMax = 32 << 10

// How long an ended process can still be asked how it ended.
const keptAfterEnd = 30 * time.Second

// Command says what to run. Env and Dir are complete: nothing is inherited from the daemon.
type Command struct {
	Path string
	Args []string
	Envs map[string]string // as asked for, for List
	Env  []string
	Dir  string
	User *accounts.User
	Tag  *string
	// Stdin keeps a pipe open for input; without it the process reads the end of file.
	Stdin bool
	// Deadline kills the process; the zero time never does.
	Deadline time.Time
}

// Stream says which output a chunk came from.
type Stream uint8

const (
	Stdout Stream = iota
	Stderr
)

// Event is a chunk of output, or the end. Data is shared between listeners: read only.
type Event struct {
	Stream Stream
	Data   []byte
	End    *End
}

// End is how a process ended: by exit or by a signal.
type End struct {
	Status syscall.WaitStatus
}

// Process is one that was started and is running or ended less than 30 s ago.
type Process struct {
	Command Command
	PID     int

	table    *Table
	input    input
	mu       sync.Mutex
	watching map[*Subscription]struct{}
	end      *End
	exited   atomic.Bool
	overdue  chan struct{}
	deadline *time.Timer
}

// Overdue is closed when the deadline has killed the process.
func (p *Process) Overdue() <-chan struct{} { return p.overdue }

// Ended tells whether the process has ended and all it printed was handed out.
func (p *Process) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end != nil
}

// Signal reaches the process and what it started in its session. False when it has ended.
func (p *Process) Signal(sig syscall.Signal) bool { return p.table.Reaper.Signal(p.PID, sig) }

// Subscription is a listener's place. Leave must be called, or the process stops at its next output.
type Subscription struct {
	Events  chan Event
	process *Process
	gone    chan struct{}
}

// Subscribe hears everything from now on; of an ended process, its end.
func (p *Process) Subscribe() *Subscription {
	s := &Subscription{Events: make(chan Event, 2), process: p, gone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		s.Events <- Event{End: p.end}
		return s
	}
	p.watching[s] = struct{}{}
	return s
}

// Leave gives the place up. Called once.
func (s *Subscription) Leave() {
	close(s.gone)
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	delete(s.process.watching, s)
}

func (p *Process) publish(event Event) {
	for _, s := range p.listeners() {
		select {
		case s.Events <- event:
		case <-s.gone:
		}
	}
}

func (p *Process) listeners() []*Subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.watching) == 0 {
		return nil
	}
	listeners := make([]*Subscription, 0, len(p.watching))
	for s := range p.watching {
		listeners = append(listeners, s)
	}
	return listeners
}

// finish makes the end known, once all output has been handed out.
func (p *Process) finish(end *End) {
	p.mu.Lock()
	p.end = end
	p.mu.Unlock()
	if p.deadline != nil {
		p.deadline.Stop()
	}
	p.input.close()
	time.AfterFunc(keptAfterEnd, func() { p.table.forget(p) })
	p.publish(Event{End: end})
}
