package processes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"lelantos.ai/guest/process"
	wire "lelantos.ai/guest/wire/process"
)

// Start runs a command and streams its events. The stream is one listener: when it breaks, the process goes on. The
// request's deadline (`Connect-Timeout-Ms`) is the process's, stream or no stream.
func (s *Processes) Start(ctx context.Context, request *connect.Request[wire.StartRequest], stream *connect.ServerStream[wire.StartResponse]) error {
	message := request.Msg
	if message.GetPty() != nil {
		return errPTY
	}
	user, err := s.Sandbox.RequestUser(request.Header())
	if err != nil {
		return connect.NewError(connect.CodeUnauthenticated, err)
	}
	config := message.GetProcess()
	deadline, _ := ctx.Deadline()
	p, subscription, err := s.Table.Start(process.Command{
		Path: config.GetCmd(), Args: config.GetArgs(), Envs: config.GetEnvs(),
		Env: s.Sandbox.Environment(user, config.GetEnvs()), Dir: s.Sandbox.Dir(user, config.GetCwd()), User: user,
		Tag: message.Tag, Stdin: message.Stdin == nil || message.GetStdin(), Deadline: deadline,
	})
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	defer subscription.Leave()
	send := func(event *wire.ProcessEvent) error { return stream.Send(&wire.StartResponse{Event: event}) }
	return follow(ctx, p, subscription, request.Header(), p.Overdue(), send)
}

// Connect listens to a process that runs, from now on; to one that ended less than 30 s ago, it tells the end.
func (s *Processes) Connect(ctx context.Context, request *connect.Request[wire.ConnectRequest], stream *connect.ServerStream[wire.ConnectResponse]) error {
	p, err := s.find(request.Msg.GetProcess())
	if err != nil {
		return err
	}
	subscription := p.Subscribe()
	defer subscription.Leave()
	send := func(event *wire.ProcessEvent) error { return stream.Send(&wire.ConnectResponse{Event: event}) }
	return follow(ctx, p, subscription, request.Header(), nil, send)
}

// follow sends start, then events as they come, and a keepalive whenever none came for a while.
func follow(ctx context.Context, p *process.Process, subscription *process.Subscription, header http.Header,
	overdue <-chan struct{}, send func(*wire.ProcessEvent) error,
) error {
	started := &wire.ProcessEvent_StartEvent{Pid: uint32(p.PID)}
	if err := send(&wire.ProcessEvent{Event: &wire.ProcessEvent_Start{Start: started}}); err != nil {
		return err
	}
	interval := keepaliveInterval(header)
	keepalive := time.NewTimer(interval)
	defer keepalive.Stop()
	for {
		var event *wire.ProcessEvent
		var end bool
		select {
		case <-overdue:
			return errOverdue(p)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return errOverdue(p)
			}
			return connect.NewError(connect.CodeCanceled, ctx.Err())
		case <-keepalive.C:
			event = &wire.ProcessEvent{Event: &wire.ProcessEvent_Keepalive{Keepalive: &wire.ProcessEvent_KeepAlive{}}}
		case next := <-subscription.Events:
			event, end = translate(next), next.End != nil
		}
		if end && closed(overdue) { // the end that the deadline brought is told as the deadline
			return errOverdue(p)
		}
		if err := send(event); err != nil || end {
			return err
		}
		keepalive.Reset(interval)
	}
}

func errOverdue(p *process.Process) error {
	return connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("process with pid %d reached the deadline of its request", p.PID))
}

func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

// Proxies drop connections that are silent for long; clients say how often they want to hear something.
func keepaliveInterval(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Keepalive-Ping-Interval"))
	if err != nil || seconds < 1 || seconds > 3600 {
		return 90 * time.Second
	}
	return time.Duration(seconds) * time.Second
}

func translate(event process.Event) *wire.ProcessEvent {
	if event.End != nil {
		return &wire.ProcessEvent{Event: &wire.ProcessEvent_End{End: translateEnd(event.End.Status)}}
	}
	output := &wire.ProcessEvent_DataEvent{Output: &wire.ProcessEvent_DataEvent_Stdout{Stdout: event.Data}}
	if event.Stream == process.Stderr {
		output.Output = &wire.ProcessEvent_DataEvent_Stderr{Stderr: event.Data}
	}
	return &wire.ProcessEvent{Event: &wire.ProcessEvent_Data{Data: output}}
}

// A signal is exit code -1 on this wire, and `exited` false.
func translateEnd(status syscall.WaitStatus) *wire.ProcessEvent_EndEvent {
	end := &wire.ProcessEvent_EndEvent{Exited: status.Exited(), ExitCode: int32(status.ExitStatus())}
	if status.Signaled() {
		end.Status = "signal: " + status.Signal().String()
	} else {
		end.Status = "exit status " + strconv.Itoa(status.ExitStatus())
	}
	if !end.Exited || end.ExitCode != 0 {
		end.Error = &end.Status
	}
	return end
}
