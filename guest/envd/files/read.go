package files

import (
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"lelantos.ai/guest/envd/reply"
)

// Read answers GET: the whole file, or the ranges and conditions asked for.
func (f *Files) Read(w http.ResponseWriter, r *http.Request) {
	user, ok := f.user(w, r)
	if !ok {
		return
	}
	path, err := f.path(user, r.URL.Query().Get("path"))
	if err != nil {
		answerError(w, err)
		return
	}
	file, info, err := open(path)
	if err != nil {
		answerError(w, err)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": filepath.Base(path)}))
	w.Header().Set("Vary", "Accept-Encoding")
	identity, compressed := acceptable(r.Header.Values("Accept-Encoding"))
	switch {
	case !identity && !compressed:
		reply.Error(w, http.StatusNotAcceptable, "Accept-Encoding must allow identity or gzip")
	case !identity:
		writeCompressed(w, file)
	case info.Size() == 0 && info.Mode().IsRegular(): // files of /proc and /sys have a content that their size denies
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.Copy(w, file)
	default:
		http.ServeContent(w, r, path, info.ModTime(), file)
	}
}

// open refuses what is not a file without waiting for it: opening a pipe would block until somebody writes.
func open(path string) (*os.File, os.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return nil, nil, refuse(http.StatusNotFound, "path '%s' does not exist", path)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = refuse(http.StatusBadRequest, "path '%s' is a directory", path)
	} else if err == nil && !info.Mode().IsRegular() {
		err = refuse(http.StatusBadRequest, "path '%s' is not a regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// Compression costs a guest more than the bytes it saves on its host's own network, so identity is sent whenever the
// client allows it; fetch always lists gzip and always allows identity.
func acceptable(headers []string) (identity, compressed bool) {
	identity = true
	explicit := false
	for entry := range strings.SplitSeq(strings.ToLower(strings.Join(headers, ",")), ",") {
		coding, parameters, _ := strings.Cut(entry, ";")
		allowed := true
		if quality, found := strings.CutPrefix(strings.TrimSpace(parameters), "q="); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(quality), 64)
			allowed = err == nil && value > 0
		}
		switch strings.TrimSpace(coding) {
		case "identity":
			identity, explicit = allowed, true
		case "gzip", "x-gzip":
			compressed = allowed
		case "*":
			if !explicit {
				identity = allowed
			}
		}
	}
	return identity, compressed
}

func writeCompressed(w http.ResponseWriter, file *os.File) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Type", "application/octet-stream")
	writer, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
	_, _ = io.Copy(writer, file)                        // a failure cuts the stream, which its reader notices
	_ = writer.Close()
}
