package files

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/envd/sandbox"
)

func newFiles(t *testing.T) (*Files, string) {
	t.Helper()
	folder := t.TempDir()
	passwd := filepath.Join(folder, "passwd")
	line := "me:x:" + strconv.Itoa(os.Geteuid()) + ":" + strconv.Itoa(os.Getegid()) + "::" + folder + ":/bin/sh\n"
	if err := os.WriteFile(passwd, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &sandbox.Sandbox{Accounts: accounts.New(passwd, "/nonexistent")}
	s.Open(sandbox.Facts{DefaultUser: "me"})
	return &Files{Sandbox: s}, folder
}

func TestAcceptable(t *testing.T) {
	for header, want := range map[string][2]bool{
		"":                             {true, false},
		"gzip, deflate":                {true, true},
		"identity":                     {true, false},
		"gzip;q=1.0, identity;q=0":     {false, true},
		"gzip;q=0, identity; q=0":      {false, false},
		"br, *;q=0":                    {false, false},
		"*;q=0, identity;q=0.5":        {true, false},
		"identity;q=0.5, *;q=0, gzip":  {true, true},
		"GZIP;q=nonsense, identity;q=": {false, false},
	} {
		identity, compressed := acceptable([]string{header})
		if got := [2]bool{identity, compressed}; got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestOpenNeverWaits(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, part := range map[string]string{pipe: "is not a regular file", filepath.Dir(pipe): "is a directory", pipe + "no": "does not exist"} {
		if _, _, err := open(path); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFormFieldPath(t *testing.T) {
	files, folder := newFiles(t)
	part := func(disposition, content string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n"
	}
	post := func(parts ...string) *httptest.ResponseRecorder {
		request := httptest.NewRequest("POST", "/files", strings.NewReader(strings.Join(parts, "")+"--b--\r\n"))
		request.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		response := httptest.NewRecorder()
		files.Write(response, request)
		return response
	}
	// A path in a file name is taken whole, not its last element; a relative one is below the user's home.
	response := post(part(`name="file"; filename="sub/name"`, "one"))
	if want := `[{"name":"name","path":"` + folder + `/sub/name","type":"file"}]`; response.Body.String() != want {
		t.Errorf("%s, want %s", response.Body, want)
	}
	path := filepath.Join(folder, "named")
	if response := post(part(`name="path"`, path), part(`name="file"; filename="other"`, "two")); response.Code != http.StatusOK {
		t.Errorf("path first: %s", response.Body)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "two" {
		t.Errorf("%q %v", text, err)
	}
	if response := post(part(`name="file"; filename="first"`, "x"), part(`name="path"`, path)); response.Code != http.StatusBadRequest {
		t.Errorf("path last: %d", response.Code)
	}
	if response := post(part(`name="file"`, "x")); response.Code != http.StatusBadRequest {
		t.Errorf("no path at all: %d", response.Code)
	}
}
