package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"google.golang.org/protobuf/types/known/timestamppb"

	wire "lelantos.ai/guest/wire/filesystem"
)

// entry describes a path. Of a symlink, type and mode are its target's; size, owner and permissions its own.
func (s *Filesystem) entry(path string) (*wire.EntryInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	mode := info.Mode()
	entry := &wire.EntryInfo{
		Name: filepath.Base(path), Path: path, Size: info.Size(), Permissions: mode.String(),
		ModifiedTime: timestamppb.New(info.ModTime()),
	}
	if mode&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(path)
		if err != nil { // it leads nowhere
			target, mode = path, fs.ModeIrregular
		} else if targetInfo, err := os.Stat(target); err == nil {
			mode = targetInfo.Mode()
		}
		entry.SymlinkTarget = &target
	}
	entry.Type, entry.Mode = fileType(mode), uint32(mode.Perm())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		entry.Owner, entry.Group = s.Sandbox.Accounts.UserName(stat.Uid), s.Sandbox.Accounts.GroupName(stat.Gid)
	}
	return entry, nil
}

func fileType(mode fs.FileMode) wire.FileType {
	switch {
	case mode.IsRegular():
		return wire.FileType_FILE_TYPE_FILE
	case mode.IsDir():
		return wire.FileType_FILE_TYPE_DIRECTORY
	case mode&fs.ModeSymlink != 0:
		return wire.FileType_FILE_TYPE_SYMLINK
	}
	return wire.FileType_FILE_TYPE_UNSPECIFIED
}
