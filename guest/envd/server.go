// Package envd is the third phase: E2B's wire, and Lelantos's own few routes, on one port.
package envd

import (
	"log"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"lelantos.ai/guest/control"
	"lelantos.ai/guest/envd/exec"
	"lelantos.ai/guest/envd/files"
	"lelantos.ai/guest/envd/metrics"
	"lelantos.ai/guest/envd/processes"
	"lelantos.ai/guest/envd/reply"
	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/machine"
	"lelantos.ai/guest/process"
	"lelantos.ai/guest/wire/filesystem/filesystemconnect"
	"lelantos.ai/guest/wire/process/processconnect"
)

// Version of envd whose wire this is: clients ask for no more. ENVD_VERSION in the contract is the same.
const Version = "0.5.7"

// Port that clients expect the wire on.
const Port = 49983

// One message of an RPC, unpacked: an input chunk at most.
const messageBytesMax = 8 << 20

// Handler serves every route.
func Handler(s *sandbox.Sandbox, table *process.Table, machine machine.Machine) http.Handler {
	guarded := http.NewServeMux()
	options := []connect.HandlerOption{connect.WithReadMaxBytes(messageBytesMax)}
	guarded.Handle(processconnect.NewProcessHandler(&processes.Processes{Sandbox: s, Table: table}, options...))
	guarded.Handle(filesystemconnect.NewFilesystemHandler(&files.Filesystem{Sandbox: s}, options...))
	transfer := &files.Files{Sandbox: s}
	guarded.HandleFunc("GET /files", transfer.Read)
	guarded.HandleFunc("POST /files", transfer.Write)
	guarded.HandleFunc("POST /files/compose", func(w http.ResponseWriter, _ *http.Request) {
		reply.Error(w, http.StatusNotImplemented, "composing files is not supported")
	})
	guarded.Handle("POST /rpc", &exec.Exec{Sandbox: s, Table: table})
	guarded.Handle("GET /metrics", &metrics.Metrics{})
	guarded.HandleFunc("GET /envs", func(w http.ResponseWriter, _ *http.Request) { reply.JSON(w, http.StatusOK, s.Variables()) })
	guarded.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply.Error(w, http.StatusNotFound, "there is no route "+r.Method+" "+r.URL.Path)
	})

	worker := &control.Control{Sandbox: s, Machine: machine}
	open := http.NewServeMux()
	open.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	})
	open.Handle("POST /init", s.RequireSecret(worker.Init))
	open.Handle("POST /sync", s.RequireSecret(worker.Sync))
	open.Handle("/", s.RequireToken(guarded))
	return recovered(open)
}

// recovered keeps a bug in one request from ending PID 1, and with it the guest.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			bug := recover()
			if bug == nil {
				return
			}
			if bug != http.ErrAbortHandler {
				log.Printf("%s %s: %v", r.Method, r.URL.Path, bug)
			}
			panic(http.ErrAbortHandler) // net/http closes the connection and goes on
		}()
		next.ServeHTTP(w, r)
	})
}

// Serve answers until the listener fails.
func Serve(listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	return server.Serve(listener)
}
