package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/ownership"
	wire "lelantos.ai/guest/wire/filesystem"
	"lelantos.ai/guest/wire/filesystem/filesystemconnect"
)

// Filesystem serves E2B's `filesystem.Filesystem`. Watchers are not served: they are answered `unimplemented`.
type Filesystem struct {
	filesystemconnect.UnimplementedFilesystemHandler
	Sandbox *sandbox.Sandbox
}

// A listing is one message: this many entries are some 30 MB of it.
const entriesMax = 100_000

func (s *Filesystem) resolve(header http.Header, path string) (*accounts.User, string, error) {
	user, err := s.Sandbox.RequestUser(header)
	if err != nil {
		return nil, "", connect.NewError(connect.CodeUnauthenticated, err)
	}
	if len(path) > pathBytesMax || strings.ContainsRune(path, 0) {
		return nil, "", connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("path must be at most %d bytes and hold no NUL", pathBytesMax))
	}
	return user, s.Sandbox.Path(user, path), nil
}

// Stat tells of a symlink where it leads, and the rest of what it leads to.
func (s *Filesystem) Stat(_ context.Context, request *connect.Request[wire.StatRequest]) (*connect.Response[wire.StatResponse], error) {
	_, path, err := s.resolve(request.Header(), request.Msg.GetPath())
	if err != nil {
		return nil, err
	}
	entry, err := s.entry(path)
	if err != nil {
		return nil, fileError(err)
	}
	return connect.NewResponse(&wire.StatResponse{Entry: entry}), nil
}

// ListDir walks `depth` levels down, in the order of names. Depth 0 means 1.
func (s *Filesystem) ListDir(ctx context.Context, request *connect.Request[wire.ListDirRequest]) (*connect.Response[wire.ListDirResponse], error) {
	_, path, err := s.resolve(request.Header(), request.Msg.GetPath())
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fileError(err)
	}
	if info, err := os.Stat(root); err != nil {
		return nil, fileError(err)
	} else if !info.IsDir() {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("path is not a directory: %s", path))
	}
	response := &wire.ListDirResponse{}
	depth := max(int(request.Msg.GetDepth()), 1)
	err = filepath.WalkDir(root, func(at string, item fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if at == root {
			return err
		}
		if err != nil { // gone meanwhile, or unreadable: its own entry is there already
			return fs.SkipDir
		}
		relative, _ := filepath.Rel(root, at) // at is below root
		entry, err := s.entry(filepath.Join(path, relative))
		if err != nil {
			return nil // gone meanwhile
		}
		if len(response.Entries) == entriesMax {
			return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("a listing has at most %d entries: ask for less depth", entriesMax))
		}
		response.Entries = append(response.Entries, entry)
		if item.IsDir() && strings.Count(relative, "/")+1 >= depth {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fileError(err)
	}
	return connect.NewResponse(response), nil
}

// MakeDir creates a folder and its parents.
func (s *Filesystem) MakeDir(_ context.Context, request *connect.Request[wire.MakeDirRequest]) (*connect.Response[wire.MakeDirResponse], error) {
	user, path, err := s.resolve(request.Header(), request.Msg.GetPath())
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return nil, connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("directory already exists: %s", path))
		}
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("path already exists and is not a directory: %s", path))
	}
	if err := ownership.MakeDirs(path, user); err != nil {
		return nil, fileError(err)
	}
	entry, err := s.entry(path)
	if err != nil {
		return nil, fileError(err)
	}
	return connect.NewResponse(&wire.MakeDirResponse{Entry: entry}), nil
}

// Move renames within one file system, and creates the destination's parents.
func (s *Filesystem) Move(_ context.Context, request *connect.Request[wire.MoveRequest]) (*connect.Response[wire.MoveResponse], error) {
	user, source, err := s.resolve(request.Header(), request.Msg.GetSource())
	if err != nil {
		return nil, err
	}
	_, destination, err := s.resolve(request.Header(), request.Msg.GetDestination())
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(source); err != nil {
		return nil, fileError(err)
	}
	if err := ownership.MakeDirs(filepath.Dir(destination), user); err != nil {
		return nil, fileError(err)
	}
	if err := os.Rename(source, destination); err != nil {
		return nil, fileError(err)
	}
	entry, err := s.entry(destination)
	if err != nil {
		return nil, fileError(err)
	}
	return connect.NewResponse(&wire.MoveResponse{Entry: entry}), nil
}

// Remove deletes a file, or a folder with all in it. What is not there is removed already.
func (s *Filesystem) Remove(_ context.Context, request *connect.Request[wire.RemoveRequest]) (*connect.Response[wire.RemoveResponse], error) {
	_, path, err := s.resolve(request.Header(), request.Msg.GetPath())
	if err != nil {
		return nil, err
	}
	if path == "/" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("path must not be the root of the file system"))
	}
	if err := os.RemoveAll(path); err != nil {
		return nil, fileError(err)
	}
	return connect.NewResponse(&wire.RemoveResponse{}), nil
}

func fileError(err error) error {
	if known := (*connect.Error)(nil); errors.As(err, &known) {
		return err
	}
	code := connect.CodeInternal
	switch {
	case errors.Is(err, os.ErrNotExist):
		code = connect.CodeNotFound
	case errors.Is(err, os.ErrPermission):
		code = connect.CodePermissionDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = connect.CodeResourceExhausted
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.ENOTEMPTY):
		code = connect.CodeFailedPrecondition
	case errors.Is(err, os.ErrExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EROFS):
		code = connect.CodeInvalidArgument
	}
	return connect.NewError(code, err)
}
