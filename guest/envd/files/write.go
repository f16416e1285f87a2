package files

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/envd/reply"
	"lelantos.ai/guest/ownership"
)

// The same number as in the contract: uploadBytes.
const uploadBytesMax = 8 << 30

const partsMax = 10_000

type written struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Type string `json:"type"`
}

// Write answers POST: multipart form data with parts `file`, or an octet-stream with the path in the query.
func (f *Files) Write(w http.ResponseWriter, r *http.Request) {
	user, ok := f.user(w, r)
	if !ok {
		return
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Metadata-") {
			reply.Error(w, http.StatusNotImplemented, "file metadata is not supported")
			return
		}
	}
	body := http.MaxBytesReader(w, r.Body, uploadBytesMax)
	var source io.Reader = body
	if encoding := r.Header.Get("Content-Encoding"); encoding == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			reply.Error(w, http.StatusBadRequest, "body is not gzip: "+err.Error())
			return
		}
		source = unpacked
	} else if encoding != "" && encoding != "identity" {
		reply.Error(w, http.StatusUnsupportedMediaType, "Content-Encoding must be gzip or identity, got "+encoding)
		return
	}
	entries, err := f.receive(r, user, source)
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			err = refuse(http.StatusRequestEntityTooLarge, "the body must be at most %d bytes", tooLarge.Limit)
		}
		answerError(w, err)
		return
	}
	reply.JSON(w, http.StatusOK, entries)
}

func (f *Files) receive(r *http.Request, user *accounts.User, source io.Reader) ([]written, error) {
	path := r.URL.Query().Get("path")
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && mediaType == "multipart/form-data" && parameters["boundary"] != "":
		return f.receiveParts(multipart.NewReader(source, parameters["boundary"]), user, path)
	case err == nil && mediaType == "application/octet-stream":
		entry, err := f.store(user, path, source)
		return []written{entry}, err
	}
	return nil, refuse(http.StatusUnsupportedMediaType,
		"Content-Type must be multipart/form-data or application/octet-stream, got %q", r.Header.Get("Content-Type"))
}

func (f *Files) receiveParts(parts *multipart.Reader, user *accounts.User, path string) ([]written, error) {
	entries := []written{}
	seen := map[string]bool{}
	for range partsMax {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "multipart body: %v", err)
		}
		switch part.FormName() {
		case "path": // the native API names the file in a field; it must come first, since nothing is held back
			if len(entries) > 0 {
				return nil, refuse(http.StatusBadRequest, "the field path must come before the field file")
			}
			field, err := io.ReadAll(io.LimitReader(part, pathBytesMax+1))
			if err != nil {
				return nil, err
			}
			path = string(field)
		case "file":
			target := path
			if target == "" {
				target = filename(part)
			}
			if resolved := f.Sandbox.Path(user, target); seen[resolved] {
				return nil, refuse(http.StatusBadRequest, "one upload must name each path once, got '%s' again", resolved)
			} else {
				seen[resolved] = true
			}
			entry, err := f.store(user, target, part)
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry)
		}
	}
	return nil, refuse(http.StatusBadRequest, "one upload must have at most %d parts", partsMax)
}

// filename is the whole of it: part.FileName keeps the last element alone.
func filename(part *multipart.Part) string {
	_, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return parameters["filename"]
}

func (f *Files) store(user *accounts.User, path string, source io.Reader) (written, error) {
	path, err := f.path(user, path)
	if err != nil {
		return written{}, err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		return written{}, refuse(http.StatusBadRequest, "path '%s' is not a file", path)
	}
	file, err := ownership.Create(path, user)
	if err != nil {
		return written{}, err
	}
	_, err = io.Copy(file, source)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return written{Name: filepath.Base(path), Path: path, Type: "file"}, err
}
