// Package reply writes the JSON bodies of the plain HTTP routes.
package reply

import (
	"encoding/json"
	"net/http"
)

type problem struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error answers in the shape that E2B's clients read: the status again as `code`, and a message.
func Error(w http.ResponseWriter, status int, message string) {
	JSON(w, status, problem{status, message})
}

// JSON answers with a value that always marshals: a struct or map of plain fields.
func JSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"code":500,"message":"the reply does not marshal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left reads no error
}
