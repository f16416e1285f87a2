// Package files serves `/files`: one file down, one or many up, streamed in constant memory.
package files

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/envd/reply"
	"lelantos.ai/guest/envd/sandbox"
)

// Files answers GET and POST. Signed URLs, metadata and compose are not served.
type Files struct {
	Sandbox *sandbox.Sandbox
}

const pathBytesMax = 4096

func (f *Files) user(w http.ResponseWriter, r *http.Request) (*accounts.User, bool) {
	user, err := f.Sandbox.User(r.URL.Query().Get("username"))
	if err != nil {
		reply.Error(w, http.StatusUnauthorized, err.Error())
		return nil, false
	}
	return user, true
}

// refusal carries the status of an error to whoever answers.
type refusal struct {
	status  int
	message string
}

func (e *refusal) Error() string { return e.message }

func refuse(status int, format string, values ...any) error {
	return &refusal{status, fmt.Sprintf(format, values...)}
}

// answerError tells what went wrong with a path: the client's doing where it is, the disk's where that is full.
func answerError(w http.ResponseWriter, err error) {
	refused := (*refusal)(nil)
	status := http.StatusInternalServerError
	switch {
	case errors.As(err, &refused):
		status = refused.status
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		status = http.StatusInsufficientStorage
	case errors.Is(err, os.ErrNotExist):
		status = http.StatusNotFound
	case errors.Is(err, os.ErrPermission):
		status = http.StatusForbidden
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, os.ErrExist),
		errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EROFS),
		errors.Is(err, syscall.ETXTBSY), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENXIO):
		status = http.StatusBadRequest
	}
	reply.Error(w, status, err.Error())
}

func (f *Files) path(user *accounts.User, path string) (string, error) {
	if path == "" {
		return "", refuse(http.StatusBadRequest, "path is missing")
	}
	if len(path) > pathBytesMax || strings.ContainsRune(path, 0) {
		return "", refuse(http.StatusBadRequest, "path must be at most %d bytes and hold no NUL", pathBytesMax)
	}
	return f.Sandbox.Path(user, path), nil
}
