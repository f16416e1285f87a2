// Package sandbox holds what /init said about the sandbox that this guest is, and what follows from it for a request:
// whether it may enter, which user it acts as, which environment a process gets, which file a path means.
package sandbox

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"lelantos.ai/guest/accounts"
)

// Facts is what /init sets, all at once. It is never changed in place.
type Facts struct {
	SandboxID      string
	TemplateID     string
	AccessToken    string
	EnvVars        map[string]string
	DefaultUser    string
	DefaultWorkdir string
}

// Sandbox is the guest's identity. Without Facts it has none yet: nobody may use it.
type Sandbox struct {
	Accounts *accounts.Accounts
	// ControlSecret opens the control routes; empty only in an ordinary process that was given none.
	ControlSecret string
	facts         atomic.Pointer[Facts]
	open          atomic.Bool
}

// Facts are the zero Facts before /init.
func (s *Sandbox) Facts() Facts {
	if facts := s.facts.Load(); facts != nil {
		return *facts
	}
	return Facts{}
}

// Open lets the holder of the token in.
func (s *Sandbox) Open(facts Facts) {
	s.facts.Store(&facts)
	s.open.Store(true)
}

// Close shuts everyone out until the next Open; the environment stays known to it.
func (s *Sandbox) Close() { s.open.Store(false) }

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Variables are those that every process of the sandbox has, whoever its user is.
func (s *Sandbox) Variables() map[string]string {
	facts := s.Facts()
	all := map[string]string{"E2B_SANDBOX": "true"}
	if facts.SandboxID != "" {
		all["E2B_SANDBOX_ID"], all["LELANTOS_SANDBOX_ID"] = facts.SandboxID, facts.SandboxID
	}
	if facts.TemplateID != "" {
		all["E2B_TEMPLATE_ID"] = facts.TemplateID
	}
	maps.Copy(all, facts.EnvVars)
	return all
}

// Environment of a process: the user's, then the sandbox's, then the request's, the later winning. Sorted.
func (s *Sandbox) Environment(user *accounts.User, request map[string]string) []string {
	shell := user.Shell
	if shell == "" {
		shell = "/bin/sh"
	}
	all := map[string]string{
		"HOME": user.Home, "USER": user.Name, "LOGNAME": user.Name, "SHELL": shell, "PATH": searchPath, "LANG": "C.UTF-8",
	}
	maps.Copy(all, s.Variables())
	maps.Copy(all, request)
	environment := make([]string, 0, len(all))
	for name, value := range all {
		environment = append(environment, name+"="+value)
	}
	slices.Sort(environment)
	return environment
}

// User finds the account by name; the default user when the name is empty.
func (s *Sandbox) User(name string) (*accounts.User, error) {
	if name == "" {
		name = s.Facts().DefaultUser
	}
	if name != "" {
		return s.Accounts.Lookup(name)
	}
	if user, err := s.Accounts.Lookup("user"); err == nil {
		return user, nil
	}
	return s.Accounts.Lookup("root")
}

// RequestUser reads the name from HTTP Basic credentials, as E2B's clients send it on RPCs: no password.
func (s *Sandbox) RequestUser(header http.Header) (*accounts.User, error) {
	request := http.Request{Header: header}
	name, _, _ := request.BasicAuth()
	return s.User(name)
}

// Path makes a client's path absolute and clean: relative to the default working directory, else to the user's home.
func (s *Sandbox) Path(user *accounts.User, path string) string {
	if path == "~" || strings.HasPrefix(path, "~/") {
		return filepath.Join(user.Home, path[1:])
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if workdir := s.Facts().DefaultWorkdir; workdir != "" {
		return filepath.Join(workdir, path)
	}
	return filepath.Join(user.Home, path)
}

// Dir is where a process starts: as Path says, or where none is asked for the default working directory, the home, or at
// last the root, since images have users without a home.
func (s *Sandbox) Dir(user *accounts.User, cwd string) string {
	if cwd != "" {
		return s.Path(user, cwd)
	}
	for _, dir := range []string{s.Facts().DefaultWorkdir, user.Home} {
		if info, err := os.Stat(dir); dir != "" && err == nil && info.IsDir() {
			return dir
		}
	}
	return "/"
}
