package sandbox

import (
	"crypto/subtle"
	"net/http"

	"lelantos.ai/guest/envd/reply"
)

// Holders of the token, and nobody before /init. A guest without a control secret is an ordinary process under test: open
// until its first /init.
func (s *Sandbox) admits(r *http.Request) bool {
	facts := s.facts.Load()
	if facts == nil {
		return s.ControlSecret == ""
	}
	return s.open.Load() && equal(r.Header.Get("X-Access-Token"), facts.AccessToken)
}

// RequireToken guards the routes of envd's wire.
func (s *Sandbox) RequireToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.admits(r) {
			reply.Error(w, http.StatusUnauthorized, "unauthenticated: X-Access-Token is missing or wrong")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireSecret guards the control routes: only the worker has the secret, no process of the guest.
func (s *Sandbox) RequireSecret(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.ControlSecret != "" && !equal(r.Header.Get("X-Control-Secret"), s.ControlSecret) {
			reply.Error(w, http.StatusUnauthorized, "unauthenticated: X-Control-Secret is missing or wrong")
			return
		}
		next(w, r)
	})
}

// equal takes a time that depends on the length of what was sent alone.
func equal(sent, secret string) bool {
	return subtle.ConstantTimeCompare([]byte(sent), []byte(secret)) == 1
}
