package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/reaper"
)

var (
	shared = NewTable(reaper.New(), 0)
	me     = &accounts.User{Name: "me", UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
)

func start(t *testing.T, script string, change func(*Command)) (*Process, *Subscription) {
	t.Helper()
	command := Command{Path: "sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin", "A=b"}, Dir: "/", User: me}
	if change != nil {
		change(&command)
	}
	p, subscription, err := shared.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	return p, subscription
}

// collect reads to the end.
func collect(t *testing.T, s *Subscription) (stdout, stderr string, status syscall.WaitStatus) {
	t.Helper()
	var output [2]bytes.Buffer
	for {
		event := next(t, s)
		if event.End != nil {
			s.Leave()
			return output[Stdout].String(), output[Stderr].String(), event.End.Status
		}
		output[event.Stream].Write(event.Data)
	}
}

func next(t *testing.T, s *Subscription) Event {
	t.Helper()
	select {
	case event := <-s.Events:
		return event
	case <-time.After(20 * time.Second):
		t.Fatal("no event within 20 s")
		panic("unreachable")
	}
}

func until(t *testing.T, what string, predicate func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !predicate(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

func TestOutputAndStatus(t *testing.T) {
	_, s := start(t, "echo $A; echo oops >&2; pwd; exit 3", nil)
	stdout, stderr, status := collect(t, s)
	if stdout != "b\n/\n" || stderr != "oops\n" || status.ExitStatus() != 3 {
		t.Errorf("%q %q %v", stdout, stderr, status.ExitStatus())
	}
}

func TestAllOutputArrivesInChunks(t *testing.T) {
	_, s := start(t, "head -c 3000000 /dev/zero", nil)
	total := 0
	for event := next(t, s); event.End == nil; event = next(t, s) {
		if len(event.Data) > ChunkBytesMax {
			t.Fatalf("a chunk of %d bytes", len(event.Data))
		}
		total += len(event.Data)
	}
	s.Leave()
	if total != 3_000_000 {
		t.Errorf("%d bytes", total)
	}
}

func TestDeadlineKillsWhatWasStarted(t *testing.T) {
	p, s := start(t, "sleep 60 & echo $!; wait", func(c *Command) { c.Deadline = time.Now().Add(200 * time.Millisecond) })
	child, err := strconv.Atoi(strings.TrimSpace(string(next(t, s).Data)))
	if err != nil {
		t.Fatal(err)
	}
	s.Leave() // the deadline is the process's, not the listener's
	until(t, "the process ended", p.Ended)
	select {
	case <-p.Overdue():
	default:
		t.Error("the process is not marked overdue")
	}
	until(t, "its child ended", func() bool { return !running(child) })
}

// running is false for a zombie: who adopts orphans is not the test's affair.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestLeavingDoesNotEndTheProcess(t *testing.T) {
	file := t.TempDir() + "/done"
	p, s := start(t, "head -c 1000000 /dev/zero; read line; echo $line > "+file, func(c *Command) { c.Stdin = true })
	next(t, s)
	s.Leave()
	if err := p.Write(t.Context(), []byte("still here\n")); err != nil {
		t.Fatal(err)
	}
	until(t, "the process ended", p.Ended)
	if text, err := os.ReadFile(file); err != nil || string(text) != "still here\n" {
		t.Errorf("%q %v", text, err)
	}
}

func TestEndIsKeptForLateListeners(t *testing.T) {
	p, s := start(t, "exit 7", func(c *Command) { tag := "late"; c.Tag = &tag })
	collect(t, s)
	found, ok := shared.ByTag("late")
	if !ok || found != p {
		t.Fatal("the ended process is not found by its tag")
	}
	_, _, status := collect(t, p.Subscribe())
	if status.ExitStatus() != 7 {
		t.Errorf("status %d", status.ExitStatus())
	}
	for _, other := range shared.Running() {
		if other == p {
			t.Error("an ended process is listed as running")
		}
	}
	shared.forget(p)
	if _, ok := shared.ByPID(p.PID); ok {
		t.Error("the process is not forgotten")
	}
}

func TestSlowListenerSlowsTheProcess(t *testing.T) {
	p, s := start(t, "yes", nil)
	var before, after runtime.MemStats
	next(t, s)
	runtime.GC()
	runtime.ReadMemStats(&before)
	reads := ioBytes(t, p.PID)
	until(t, "the process waits", func() bool {
		time.Sleep(50 * time.Millisecond)
		now := ioBytes(t, p.PID)
		defer func() { reads = now }()
		return now == reads
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("a listener that does not read costs %d bytes", grown)
	}
	if reads > 1<<20 {
		t.Errorf("%d bytes were taken from the process without a reader", reads)
	}
	p.Signal(syscall.SIGKILL)
	s.Leave()
	until(t, "the process ended", p.Ended)
}

// ioBytes is what the process has written.
func ioBytes(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	count, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestBackgroundDoesNotHoldTheEnd(t *testing.T) {
	started := time.Now()
	_, s := start(t, "sleep 60 & echo $!", nil)
	stdout, _, status := collect(t, s)
	child, err := strconv.Atoi(strings.TrimSpace(stdout))
	if err != nil || status.ExitStatus() != 0 {
		t.Fatalf("%q %v", stdout, status)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("the end came after %s", took)
	}
	if !running(child) {
		t.Error("what runs in the background was killed")
	}
	_ = syscall.Kill(child, syscall.SIGKILL)
}

func TestInput(t *testing.T) {
	p, s := start(t, "cat", func(c *Command) { c.Stdin = true })
	if err := p.Write(t.Context(), []byte("in")); err != nil {
		t.Fatal(err)
	}
	if err := p.CloseStdin(); err != nil {
		t.Fatal(err)
	}
	if stdout, _, _ := collect(t, s); stdout != "in" {
		t.Errorf("%q", stdout)
	}
	if err := p.Write(t.Context(), []byte("late")); !errors.Is(err, ErrNoStdin) {
		t.Errorf("input after the end: %v", err)
	}
	_, s = start(t, "cat", nil)
	if stdout, _, status := collect(t, s); stdout != "" || status.ExitStatus() != 0 {
		t.Errorf("without stdin: %q %v", stdout, status)
	}
}

func TestInputWaitsForTheReaderAndGivesUpWithItsContext(t *testing.T) {
	p, s := start(t, "sleep 60", func(c *Command) { c.Stdin = true })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Write(ctx, make([]byte, 1<<20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write that nobody reads: %v", err)
	}
	p.Signal(syscall.SIGKILL)
	collect(t, s)
}

func TestRefusals(t *testing.T) {
	for name, command := range map[string]Command{
		"executable '/no/such' was not found": {Path: "/no/such", Dir: "/", User: me},
		"executable 'no-such' was not found":  {Path: "no-such", Dir: "/", User: me, Env: []string{"PATH=/bin"}},
		"cwd '/no/such' is not a directory":   {Path: "/bin/sh", Dir: "/no/such", User: me},
	} {
		if _, _, err := shared.Start(command); err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}
