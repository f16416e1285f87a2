package sandbox

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lelantos.ai/guest/accounts"
)

func newSandbox(t *testing.T, passwd string) *Sandbox {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte(passwd), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Sandbox{Accounts: accounts.New(path, "/nonexistent")}
}

const (
	root = "root:x:0:0::/root:/bin/bash\n"
	user = "user:x:1000:1000::/home/user:\n"
	eve  = "eve:x:1001:1001::/home/eve:/bin/zsh\n"
)

func TestWhoARequestActsAs(t *testing.T) {
	for name, test := range map[string]struct{ passwd, defaultUser, asked, want string }{
		"named":                       {root + user + eve, "", "eve", "eve"},
		"default of /init":            {root + user + eve, "eve", "", "eve"},
		"user, where there is one":    {root + user, "", "", "user"},
		"root, where there is no one": {root, "", "", "root"},
	} {
		s := newSandbox(t, test.passwd)
		s.Open(Facts{DefaultUser: test.defaultUser})
		request := http.Request{Header: http.Header{}}
		if test.asked != "" {
			request.SetBasicAuth(test.asked, "")
		}
		found, err := s.RequestUser(request.Header)
		if err != nil || found.Name != test.want {
			t.Errorf("%s: %+v %v", name, found, err)
		}
	}
	header := http.Header{"Authorization": {"Bearer x"}} // not a name
	if found, err := newSandbox(t, root).RequestUser(header); err != nil || found.Name != "root" {
		t.Errorf("bearer: %+v %v", found, err)
	}
}

func TestEnvironmentLaterWins(t *testing.T) {
	s := newSandbox(t, user)
	s.Open(Facts{SandboxID: "sbx1", TemplateID: "base", EnvVars: map[string]string{"A": "sandbox", "B": "sandbox", "LANG": "de"}})
	account, _ := s.User("user")
	environment := s.Environment(account, map[string]string{"B": "request", "PATH": "/mine"})
	want := []string{
		"A=sandbox", "B=request", "E2B_SANDBOX=true", "E2B_SANDBOX_ID=sbx1", "E2B_TEMPLATE_ID=base", "HOME=/home/user", "LANG=de",
		"LELANTOS_SANDBOX_ID=sbx1", "LOGNAME=user", "PATH=/mine", "SHELL=/bin/sh", "USER=user",
	}
	if !slices.Equal(environment, want) {
		t.Errorf("%q", environment)
	}
}

func TestPaths(t *testing.T) {
	s := newSandbox(t, user)
	account, _ := s.User("user")
	for path, want := range map[string]string{
		"/a/../b": "/b", "a": "/home/user/a", "": "/home/user", "~": "/home/user", "~/a": "/home/user/a", "../../../x": "/x", "~x": "/home/user/~x",
	} {
		if got := s.Path(account, path); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
	s.Open(Facts{DefaultWorkdir: "/code"})
	if got := s.Path(account, "a"); got != "/code/a" {
		t.Errorf("in the working directory: %s", got)
	}
	if got := s.Dir(account, ""); got != "/" {
		t.Errorf("neither working directory nor home exist: %s", got)
	}
}
