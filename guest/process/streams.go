package process

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A command that left something running in the background holds its pipes open for ever. After the command itself has
// exited, this long a silence ends the wait for more; what comes later is read and dropped, so that what runs on is not
// killed by a closed pipe.
const quietAfterExit = time.Second

var chunks = sync.Pool{New: func() any { return new([ChunkBytesMax]byte) }}

// forward publishes what the pipe yields, until its end or until it is quiet after the exit.
func (p *Process) forward(pipe *os.File, stream Stream) {
	chunk := chunks.Get().(*[ChunkBytesMax]byte)
	defer chunks.Put(chunk)
	for {
		if p.exited.Load() {
			_ = pipe.SetReadDeadline(time.Now().Add(quietAfterExit)) // fails on a closed pipe, as the read then does
		}
		n, err := pipe.Read(chunk[:])
		if n > 0 {
			p.publish(Event{Stream: stream, Data: append([]byte(nil), chunk[:n]...)})
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			go drop(pipe)
			return
		}
		if err != nil {
			pipe.Close()
			return
		}
	}
}

func drop(pipe *os.File) {
	_ = pipe.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, pipe) // whatever ends it, there is nobody to tell
	pipe.Close()
}

// ErrNoStdin answers input to a process that has none, or none any more.
var ErrNoStdin = errors.New("stdin is not open")

// input is the pipe to a process's stdin, if it was started with one.
type input struct {
	writing sync.Mutex
	pipe    *os.File
	closed  atomic.Bool
}

// Write waits until the process has taken everything, or the context ends.
func (p *Process) Write(ctx context.Context, data []byte) error {
	p.input.writing.Lock()
	defer p.input.writing.Unlock()
	pipe := p.input.pipe
	if pipe == nil || p.input.closed.Load() {
		return ErrNoStdin
	}
	if err := pipe.SetWriteDeadline(time.Time{}); err != nil {
		return ErrNoStdin
	}
	// Should the context end just after the write did, the deadline it sets is cleared by the next write.
	stop := context.AfterFunc(ctx, func() { _ = pipe.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := pipe.Write(data)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// CloseStdin lets the process read the end of its input, after what was written before.
func (p *Process) CloseStdin() error {
	p.input.writing.Lock()
	defer p.input.writing.Unlock()
	if !p.input.close() {
		return ErrNoStdin
	}
	return nil
}

// close interrupts a write that waits. False when there is nothing to close.
func (i *input) close() bool {
	if i.pipe == nil || i.closed.Swap(true) {
		return false
	}
	i.pipe.Close()
	return true
}
