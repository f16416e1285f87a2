// Package accounts looks users up in /etc/passwd and /etc/group, without libc: the daemon is static and runs in any image.
package accounts

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// User is an account with all its groups.
type User struct {
	Name   string
	UID    uint32
	GID    uint32
	Home   string
	Shell  string
	Groups []uint32
}

// UnknownError names a user that /etc/passwd lacks.
type UnknownError struct{ Name string }

func (e UnknownError) Error() string { return fmt.Sprintf("invalid username: '%s'", e.Name) }

// Accounts caches both files until one of them changes.
type Accounts struct {
	passwdPath, groupPath string

	mu            sync.Mutex
	passwd, group stamp
	checked       time.Time
	users         map[string]*User
	userNames     map[uint32]string
	groupNames    map[uint32]string
}

// A stamp tells one version of a file from the next; editors of /etc/passwd replace it by rename.
type stamp struct {
	modified time.Time
	size     int64
}

// Files of accounts are small; a larger one is cut, so that a guest cannot make its daemon grow.
const fileBytesMax = 4 << 20

// New reads from the given files, at the first lookup.
func New(passwdPath, groupPath string) *Accounts {
	return &Accounts{passwdPath: passwdPath, groupPath: groupPath}
}

// Lookup finds a user by name. The error is an UnknownError when there is none.
func (a *Accounts) Lookup(name string) (*User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	if user, ok := a.users[name]; ok {
		return user, nil
	}
	return nil, UnknownError{name}
}

// UserName is the name of a uid, or its number when it has none.
func (a *Accounts) UserName(uid uint32) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refreshSometimes()
	return nameOr(a.userNames, uid)
}

// GroupName is the name of a gid, or its number when it has none.
func (a *Accounts) GroupName(gid uint32) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refreshSometimes()
	return nameOr(a.groupNames, gid)
}

func nameOr(names map[uint32]string, id uint32) string {
	if name, ok := names[id]; ok {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// A listing asks for thousands of names in a row: those may be a second old.
func (a *Accounts) refreshSometimes() {
	if time.Since(a.checked) > time.Second {
		a.refresh()
	}
}

func (a *Accounts) refresh() {
	a.checked = time.Now()
	passwd, group := stampOf(a.passwdPath), stampOf(a.groupPath)
	if a.users != nil && passwd == a.passwd && group == a.group {
		return
	}
	a.passwd, a.group = passwd, group
	a.users, a.userNames, a.groupNames = map[string]*User{}, map[uint32]string{}, map[uint32]string{}
	for fields := range lines(a.passwdPath, 7) {
		uid, uidErr := strconv.ParseUint(fields[2], 10, 32)
		gid, gidErr := strconv.ParseUint(fields[3], 10, 32)
		if uidErr != nil || gidErr != nil || a.users[fields[0]] != nil {
			continue
		}
		user := &User{Name: fields[0], UID: uint32(uid), GID: uint32(gid), Home: fields[5], Shell: fields[6]}
		user.Groups = []uint32{user.GID}
		a.users[user.Name] = user
		if _, known := a.userNames[user.UID]; !known {
			a.userNames[user.UID] = user.Name
		}
	}
	for fields := range lines(a.groupPath, 4) {
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		a.groupNames[uint32(gid)] = fields[0]
		for member := range strings.SplitSeq(fields[3], ",") {
			if user := a.users[member]; user != nil && user.GID != uint32(gid) {
				user.Groups = append(user.Groups, uint32(gid))
			}
		}
	}
	if a.users["root"] == nil { // an image without /etc/passwd still has a superuser
		a.users["root"] = &User{Name: "root", Home: "/root", Shell: "/bin/sh", Groups: []uint32{0}}
		a.userNames[0] = "root"
	}
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

func lines(path string, columns int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		file, err := os.Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		text, err := io.ReadAll(io.LimitReader(file, fileBytesMax))
		if err != nil {
			return
		}
		for line := range bytes.SplitSeq(text, []byte{'\n'}) {
			fields := strings.Split(string(line), ":")
			if len(fields) == columns && fields[0] != "" && !yield(fields) {
				return
			}
		}
	}
}
