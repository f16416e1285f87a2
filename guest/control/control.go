// Package control serves the routes that only the worker may call: /init, which turns a restored snapshot into one
// sandbox, and /sync.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lelantos.ai/guest/envd/reply"
	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/machine"
)

// Control applies what the worker sends, one request at a time.
type Control struct {
	Sandbox *sandbox.Sandbox
	Machine machine.Machine

	applying sync.Mutex
}

const bodyBytesMax = 1 << 20

// Init sets clock, entropy, names and token in that order of need, and answers 204 when all of it is done. When a step
// fails the sandbox is shut to everyone, since clones that share random numbers must not be used.
func (c *Control) Init(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if err != nil {
		reply.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must be at most %d bytes", bodyBytesMax))
		return
	}
	var message initMessage
	if err := json.Unmarshal(body, &message); err != nil {
		reply.Error(w, http.StatusBadRequest, "body: "+err.Error())
		return
	}
	initial, err := message.validate()
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	c.applying.Lock()
	defer c.applying.Unlock()
	if err := c.apply(initial); err != nil {
		log.Printf("init failed: %v", err)
		reply.Error(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *Control) apply(initial *initial) error {
	if initial.clockOnly {
		return step("clock", c.Machine.SetClock(initial.clock()))
	}
	c.Sandbox.Close()
	if initial.keepsEnvVars {
		initial.facts.EnvVars = c.Sandbox.Facts().EnvVars
	}
	if err := step("entropy", c.Machine.Reseed(initial.entropy)); err != nil {
		return err
	}
	if err := step("clock", c.Machine.SetClock(initial.clock())); err != nil {
		return err
	}
	if err := step("hostname", c.Machine.SetHostname(initial.hostname)); err != nil {
		return err
	}
	if err := step("facts", c.Machine.SetFacts(initial.facts.SandboxID, initial.facts.TemplateID)); err != nil {
		return err
	}
	c.Sandbox.Open(initial.facts)
	return nil
}

func step(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Sync writes what the guest's file systems hold in memory to their disks.
func (c *Control) Sync(w http.ResponseWriter, _ *http.Request) {
	unix.Sync()
	w.WriteHeader(http.StatusNoContent)
}

// A timestamp says when the request was sent; what validation and waiting took since is added when the clock is set.
type stamped struct {
	timestamp time.Time
	received  time.Time
}

func (s stamped) clock() time.Time { return s.timestamp.Add(time.Since(s.received)) }

var errNoTimestamp = errors.New("timestamp is missing")
