package accounts

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestLookupFollowsChanges(t *testing.T) {
	dir := t.TempDir()
	passwd, group := filepath.Join(dir, "passwd"), filepath.Join(dir, "group")
	write := func(path, text string, modified time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Unix(1_000_000, 0)
	write(passwd, "root:x:0:0:root:/root:/bin/bash\nbroken line\nuser:x:1000:1000::/home/user:/bin/bash\n", start)
	write(group, "root:x:0:\nsudo:x:27:user,ghost\nuser:x:1000:\n", start)
	accounts := New(passwd, group)

	user, err := accounts.Lookup("user")
	if err != nil {
		t.Fatal(err)
	}
	if user.UID != 1000 || user.Home != "/home/user" || !slices.Equal(user.Groups, []uint32{1000, 27}) {
		t.Errorf("user = %+v", user)
	}
	if _, err := accounts.Lookup("eve"); !errors.As(err, &UnknownError{}) || err.Error() != "invalid username: 'eve'" {
		t.Errorf("unknown user: %v", err)
	}
	if name := accounts.GroupName(27); name != "sudo" {
		t.Errorf("group 27 = %s", name)
	}
	if name := accounts.UserName(4242); name != "4242" {
		t.Errorf("uid without a name = %s", name)
	}

	write(passwd, "root:x:0:0:root:/root:/bin/bash\neve:x:1001:1001::/home/eve:/bin/sh\n", start.Add(time.Second))
	if _, err := accounts.Lookup("eve"); err != nil {
		t.Errorf("after the file changed: %v", err)
	}
	if _, err := accounts.Lookup("user"); err == nil {
		t.Error("user is still there after it was removed")
	}
}

func TestRootExistsWithoutFiles(t *testing.T) {
	accounts := New("/nonexistent/passwd", "/nonexistent/group")
	if root, err := accounts.Lookup("root"); err != nil || root.UID != 0 {
		t.Errorf("root = %+v, %v", root, err)
	}
}
