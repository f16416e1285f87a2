// Package processes serves E2B's `process.Process` over package process.
package processes

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"connectrpc.com/connect"

	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/process"
	wire "lelantos.ai/guest/wire/process"
	"lelantos.ai/guest/wire/process/processconnect"
)

// Processes answers the RPCs. PTYs are not served: what asks for one is answered `unimplemented`.
type Processes struct {
	processconnect.UnimplementedProcessHandler
	Sandbox *sandbox.Sandbox
	Table   *process.Table
}

var errPTY = connect.NewError(connect.CodeUnimplemented, errors.New("PTYs are not supported"))

// List names the processes that run.
func (s *Processes) List(context.Context, *connect.Request[wire.ListRequest]) (*connect.Response[wire.ListResponse], error) {
	response := &wire.ListResponse{}
	for _, p := range s.Table.Running() {
		command := p.Command
		response.Processes = append(response.Processes, &wire.ProcessInfo{
			Config: &wire.ProcessConfig{Cmd: command.Path, Args: command.Args, Envs: command.Envs, Cwd: &command.Dir},
			Pid:    uint32(p.PID), Tag: command.Tag,
		})
	}
	return connect.NewResponse(response), nil
}

// SendInput writes to stdin and returns when the process has read what its pipe does not hold.
func (s *Processes) SendInput(ctx context.Context, request *connect.Request[wire.SendInputRequest]) (*connect.Response[wire.SendInputResponse], error) {
	p, err := s.running(request.Msg.GetProcess())
	if err != nil {
		return nil, err
	}
	if err := write(ctx, p, request.Msg.GetInput()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&wire.SendInputResponse{}), nil
}

// StreamInput is SendInput many times over. Its first message names the process.
func (s *Processes) StreamInput(ctx context.Context, stream *connect.ClientStream[wire.StreamInputRequest]) (*connect.Response[wire.StreamInputResponse], error) {
	var p *process.Process
	for stream.Receive() {
		switch event := stream.Msg().GetEvent().(type) {
		case *wire.StreamInputRequest_Start:
			found, err := s.running(event.Start.GetProcess())
			if err != nil {
				return nil, err
			}
			p = found
		case *wire.StreamInputRequest_Data:
			if p == nil {
				return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the first message must be start"))
			}
			if err := write(ctx, p, event.Data.GetInput()); err != nil {
				return nil, err
			}
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&wire.StreamInputResponse{}), nil
}

// SendSignal reaches the process and what it started.
func (s *Processes) SendSignal(_ context.Context, request *connect.Request[wire.SendSignalRequest]) (*connect.Response[wire.SendSignalResponse], error) {
	p, err := s.running(request.Msg.GetProcess())
	if err != nil {
		return nil, err
	}
	switch signal := request.Msg.GetSignal(); signal {
	case wire.Signal_SIGNAL_SIGKILL, wire.Signal_SIGNAL_SIGTERM:
		p.Signal(syscall.Signal(signal)) // one that has just ended needs no signal
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("signal must be SIGTERM or SIGKILL, got %s", signal))
	}
	return connect.NewResponse(&wire.SendSignalResponse{}), nil
}

// CloseStdin gives the process the end of its input.
func (s *Processes) CloseStdin(_ context.Context, request *connect.Request[wire.CloseStdinRequest]) (*connect.Response[wire.CloseStdinResponse], error) {
	p, err := s.running(request.Msg.GetProcess())
	if err != nil {
		return nil, err
	}
	if err := p.CloseStdin(); err != nil {
		return nil, inputError(p, err)
	}
	return connect.NewResponse(&wire.CloseStdinResponse{}), nil
}

func write(ctx context.Context, p *process.Process, input *wire.ProcessInput) error {
	switch input := input.GetInput().(type) {
	case *wire.ProcessInput_Stdin:
		if err := p.Write(ctx, input.Stdin); err != nil {
			return inputError(p, err)
		}
		return nil
	case *wire.ProcessInput_Pty:
		return errPTY
	}
	return connect.NewError(connect.CodeInvalidArgument, errors.New("input is missing"))
}

func inputError(p *process.Process, err error) error {
	code := connect.CodeFailedPrecondition
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	}
	return connect.NewError(code, fmt.Errorf("write to process with pid %d: %w", p.PID, err))
}

// find takes a process that runs or ended a moment ago; running one that has not ended.
func (s *Processes) find(selector *wire.ProcessSelector) (*process.Process, error) {
	var p *process.Process
	var found bool
	var what string
	switch selector := selector.GetSelector().(type) {
	case *wire.ProcessSelector_Pid:
		p, found = s.Table.ByPID(int(selector.Pid))
		what = fmt.Sprintf("pid %d", selector.Pid)
	case *wire.ProcessSelector_Tag:
		p, found = s.Table.ByTag(selector.Tag)
		what = "tag " + selector.Tag
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("process needs a pid or a tag"))
	}
	if !found {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("process with %s not found", what))
	}
	return p, nil
}

func (s *Processes) running(selector *wire.ProcessSelector) (*process.Process, error) {
	p, err := s.find(selector)
	if err == nil && p.Ended() {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("process with pid %d not found", p.PID))
	}
	return p, err
}
