package control

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"lelantos.ai/guest/envd/sandbox"
)

// initMessage is the body of /init. With a timestamp alone it sets the clock and nothing else.
type initMessage struct {
	SandboxID      string             `json:"sandboxID"`
	TemplateID     string             `json:"templateID"`
	AccessToken    string             `json:"accessToken"`
	EnvVars        *map[string]string `json:"envVars"` // absent keeps what memory still holds from before a pause
	Hostname       string             `json:"hostname"`
	Timestamp      string             `json:"timestamp"`
	Entropy        string             `json:"entropy"`
	DefaultUser    string             `json:"defaultUser"`
	DefaultWorkdir string             `json:"defaultWorkdir"`
}

type initial struct {
	stamped
	clockOnly    bool
	keepsEnvVars bool
	entropy      []byte
	hostname     string
	facts        sandbox.Facts
}

const (
	entropyBytes       = 32
	accessTokenLength  = 16 // at least
	environmentMaximum = 262_144
)

var (
	idPattern       = regexp.MustCompile(`^[a-z0-9]{1,64}$`)
	templatePattern = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,256}$`)
	hostnamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (m *initMessage) validate() (*initial, error) {
	if m.Timestamp == "" {
		return nil, errNoTimestamp
	}
	timestamp, err := time.Parse(time.RFC3339Nano, m.Timestamp)
	if err != nil {
		return nil, fmt.Errorf("timestamp must be ISO 8601, got %q", m.Timestamp)
	}
	result := &initial{stamped: stamped{timestamp: timestamp, received: time.Now()}}
	if *m == (initMessage{Timestamp: m.Timestamp}) {
		result.clockOnly = true
		return result, nil
	}
	result.entropy, err = base64.StdEncoding.DecodeString(m.Entropy)
	switch {
	case err != nil || len(result.entropy) != entropyBytes:
		return nil, fmt.Errorf("entropy must be base64 of %d bytes", entropyBytes)
	case !idPattern.MatchString(m.SandboxID):
		return nil, fmt.Errorf("sandboxID must match %s, got %q", idPattern, m.SandboxID)
	case !templatePattern.MatchString(m.TemplateID):
		return nil, fmt.Errorf("templateID must match %s, got %q", templatePattern, m.TemplateID)
	case len(m.AccessToken) < accessTokenLength:
		return nil, fmt.Errorf("accessToken must have at least %d characters", accessTokenLength)
	case !hostnamePattern.MatchString(m.Hostname):
		return nil, fmt.Errorf("hostname must match %s, got %q", hostnamePattern, m.Hostname)
	case m.DefaultWorkdir != "" && !strings.HasPrefix(m.DefaultWorkdir, "/"):
		return nil, fmt.Errorf("defaultWorkdir must be absolute, got %q", m.DefaultWorkdir)
	}
	result.hostname, result.keepsEnvVars = m.Hostname, m.EnvVars == nil
	result.facts = sandbox.Facts{
		SandboxID: m.SandboxID, TemplateID: m.TemplateID, AccessToken: m.AccessToken,
		DefaultUser: m.DefaultUser, DefaultWorkdir: m.DefaultWorkdir,
	}
	if m.EnvVars != nil {
		result.facts.EnvVars = *m.EnvVars
	}
	return result, checkEnvironment(result.facts.EnvVars)
}

// checkEnvironment never names a value: values are secrets.
func checkEnvironment(variables map[string]string) error {
	size := 0
	for name, value := range variables {
		if !variablePattern.MatchString(name) {
			return fmt.Errorf("envVars must have names that match %s, got %q", variablePattern, name)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("envVars.%s must not contain NUL", name)
		}
		size += len(name) + len(value)
	}
	if size > environmentMaximum {
		return errors.New("envVars must be at most 262144 bytes")
	}
	return nil
}
