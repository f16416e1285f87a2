// Package exec serves `POST /rpc`: a command run to its end, its output gathered.
package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"lelantos.ai/guest/envd/reply"
	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/process"
)

// The same numbers as in the contract: execOutputBytes, execTimeoutSeconds, bodyBytes.
const (
	outputBytesMax        = 16 << 20
	timeoutSecondsDefault = 60
	timeoutSecondsMax     = 3600
	bodyBytesMax          = 1 << 20
)

// Exec answers the one method there is, `exec`.
type Exec struct {
	Sandbox *sandbox.Sandbox
	Table   *process.Table
}

type request struct {
	Method string `json:"method"`
	Params struct {
		Cmd     string            `json:"cmd"`
		Cwd     string            `json:"cwd"`
		Envs    map[string]string `json:"envs"`
		User    string            `json:"user"`
		Timeout *float64          `json:"timeout"`
	} `json:"params"`
}

type result struct {
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode int    `json:"exitCode"`
}

// ServeHTTP runs `bash -lc cmd` as root unless another user is named. A client that leaves ends the command: nobody else
// could ever read what it prints.
func (e *Exec) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytesMax)).Decode(&call); err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		reply.Error(w, status, "body: "+err.Error())
		return
	}
	if call.Method != "exec" {
		reply.Error(w, http.StatusBadRequest, fmt.Sprintf("method must be exec, got %q", call.Method))
		return
	}
	command, err := e.command(&call)
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	p, subscription, err := e.Table.Start(command)
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	defer subscription.Leave()
	gather(w, r, p, subscription)
}

func (e *Exec) command(call *request) (process.Command, error) {
	params := &call.Params
	if params.Cmd == "" {
		return process.Command{}, errors.New("params.cmd is missing")
	}
	timeout := float64(timeoutSecondsDefault)
	if params.Timeout != nil {
		timeout = *params.Timeout
	}
	if timeout <= 0 || timeout > timeoutSecondsMax {
		return process.Command{}, fmt.Errorf("params.timeout must be more than 0 and at most %d seconds, got %g", timeoutSecondsMax, timeout)
	}
	name := params.User
	if name == "" {
		name = "root"
	}
	user, err := e.Sandbox.User(name)
	if err != nil {
		return process.Command{}, err
	}
	return process.Command{
		Path: "/bin/bash", Args: []string{"-l", "-c", params.Cmd}, Envs: params.Envs,
		Env: e.Sandbox.Environment(user, params.Envs), Dir: e.Sandbox.Dir(user, params.Cwd), User: user,
		Deadline: time.Now().Add(time.Duration(timeout * float64(time.Second))),
	}, nil
}
