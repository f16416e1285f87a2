// Package ownership creates folders and files for a user while the daemon is root.
//
// Whoever calls these routes may name any user, root included, so they are not where one user is kept from another; what
// matters is that a user owns what was made for them, wherever it is.
package ownership

import (
	"os"
	"path/filepath"

	"lelantos.ai/guest/accounts"
)

const (
	folderMode = 0o755
	fileMode   = 0o644
)

// MakeDirs creates a folder and its missing parents; what it creates belongs to the user.
func MakeDirs(path string, user *accounts.User) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "mkdir", Path: path, Err: os.ErrExist}
		}
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MakeDirs(parent, user); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, folderMode); err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return nil // another request made it meanwhile
		}
		return err
	}
	return os.Lchown(path, int(user.UID), int(user.GID))
}

// Create opens a file to be written from its beginning, creates it and its parents where needed, and gives it to the user.
// Devices and the like stay whose they are.
func Create(path string, user *accounts.User) (*os.File, error) {
	if err := MakeDirs(filepath.Dir(path), user); err != nil {
		return nil, err
	}
	// What exists is opened without O_CREATE: with it, fs.protected_regular denies root another user's file in /tmp.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if os.IsNotExist(err) {
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = file.Chown(int(user.UID), int(user.GID))
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
