package machine

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestHostsNameTheHostOnce(t *testing.T) {
	first := string(withHostname(nil, "sbx1"))
	want := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 sbx1 # this sandbox\n"
	if first != want {
		t.Errorf("from nothing:\n%s", first)
	}
	second := string(withHostname([]byte(first+"10.0.0.1 mine\n"), "sbx2"))
	want = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.0.1 mine\n127.0.1.1 sbx2 # this sandbox\n"
	if second != want {
		t.Errorf("renamed:\n%s", second)
	}
}

func TestReplaceWritesOnlyWhatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	for _, content := range []string{"first and longer\n", "second\n", "second\n"} {
		if err := replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != content {
			t.Errorf("%q %v", text, err)
		}
	}
	long := time.Unix(1_000_000, 0)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, []byte("second\n")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(long) {
		t.Errorf("the same content was written again: %v %v", info, err)
	}
}
