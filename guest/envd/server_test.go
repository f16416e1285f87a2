package envd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"lelantos.ai/guest/accounts"
	"lelantos.ai/guest/envd/sandbox"
	"lelantos.ai/guest/process"
	"lelantos.ai/guest/reaper"
)

const (
	secret = "c0ffee"
	token  = "0123456789abcdef0123456789abcdef"
)

var sharedReaper = reaper.New()

// recorder is a machine that notes what is asked of it, and fails at one step if told to.
type recorder struct {
	steps  []string
	failAt string
	now    time.Time
}

func (r *recorder) step(name string) error {
	r.steps = append(r.steps, name)
	if name == r.failAt {
		return errors.New("refused by the test")
	}
	return nil
}

func (r *recorder) Reseed(entropy []byte) error { return r.step("entropy") }
func (r *recorder) SetClock(now time.Time) error {
	r.now = now
	return r.step("clock")
}
func (r *recorder) SetHostname(string) error      { return r.step("hostname") }
func (r *recorder) SetFacts(string, string) error { return r.step("facts") }

type guest struct {
	t       *testing.T
	machine *recorder
	handler http.Handler
}

func newGuest(t *testing.T) *guest {
	machine := &recorder{}
	s := &sandbox.Sandbox{Accounts: accounts.New("/etc/passwd", "/etc/group"), ControlSecret: secret}
	return &guest{t, machine, Handler(s, process.NewTable(sharedReaper, 0), machine)}
}

func (g *guest) request(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	g.t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	for n := 0; n+1 < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	response := httptest.NewRecorder()
	g.handler.ServeHTTP(response, request)
	return response
}

func body(change map[string]any) string {
	message := map[string]any{
		"sandboxID": "sbx1", "templateID": "base", "accessToken": token, "hostname": "sbx1", "envVars": map[string]string{"MODE": "x"},
		"timestamp": "2026-11-24T16:00:00.123Z", "entropy": base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"unknown": "fields are tolerated",
	}
	for name, value := range change {
		if message[name] = value; value == nil {
			delete(message, name)
		}
	}
	text, _ := json.Marshal(message)
	return string(text)
}

func (g *guest) init(change map[string]any, want int) *httptest.ResponseRecorder {
	g.t.Helper()
	response := g.request("POST", "/init", body(change), "X-Control-Secret", secret)
	if response.Code != want {
		g.t.Fatalf("/init: %d, want %d: %s", response.Code, want, response.Body)
	}
	return response
}

func (g *guest) envs(token string, want int) map[string]string {
	g.t.Helper()
	response := g.request("GET", "/envs", "", "X-Access-Token", token)
	if response.Code != want {
		g.t.Fatalf("/envs: %d, want %d", response.Code, want)
	}
	variables := map[string]string{}
	_ = json.Unmarshal(response.Body.Bytes(), &variables)
	return variables
}

func TestInitOrder(t *testing.T) {
	g := newGuest(t)
	g.envs("", http.StatusUnauthorized)
	g.init(nil, http.StatusNoContent)
	if !slices.Equal(g.machine.steps, []string{"entropy", "clock", "hostname", "facts"}) {
		t.Errorf("steps %v", g.machine.steps)
	}
	if ahead := g.machine.now.Sub(time.Date(2026, 11, 24, 16, 0, 0, 123e6, time.UTC)); ahead < 0 || ahead > time.Second {
		t.Errorf("the clock was set %s past the timestamp", ahead)
	}
	if variables := g.envs(token, http.StatusOK); variables["MODE"] != "x" || variables["E2B_SANDBOX_ID"] != "sbx1" {
		t.Errorf("variables %v", variables)
	}
}

func TestNothingOpensWhenAStepFails(t *testing.T) {
	for _, step := range []string{"entropy", "clock", "hostname", "facts"} {
		g := newGuest(t)
		g.machine.failAt = step
		if response := g.init(nil, http.StatusInternalServerError); !strings.Contains(response.Body.String(), step+": refused by the test") {
			t.Errorf("%s: %s", step, response.Body)
		}
		g.envs(token, http.StatusUnauthorized)
		if g.machine.steps[len(g.machine.steps)-1] != step {
			t.Errorf("went on after %s: %v", step, g.machine.steps)
		}
		g.machine.failAt = ""
		g.init(nil, http.StatusNoContent)
		g.machine.failAt = step // a restored clone whose reseed fails must not be usable with the token in its memory
		g.init(nil, http.StatusInternalServerError)
		g.envs(token, http.StatusUnauthorized)
	}
}

func TestInitAgain(t *testing.T) {
	g := newGuest(t)
	g.init(nil, http.StatusNoContent)
	g.init(map[string]any{"envVars": nil, "accessToken": strings.ToUpper(token)}, http.StatusNoContent)
	g.envs(token, http.StatusUnauthorized)
	if variables := g.envs(strings.ToUpper(token), http.StatusOK); variables["MODE"] != "x" {
		t.Errorf("variables are not kept: %v", variables)
	}
	g.init(map[string]any{"envVars": map[string]string{}}, http.StatusNoContent)
	if variables := g.envs(token, http.StatusOK); variables["MODE"] != "" {
		t.Errorf("variables are not replaced: %v", variables)
	}
	g.machine.steps = nil
	if response := g.request("POST", "/init", `{"timestamp":"2026-11-24T16:00:00Z"}`, "X-Control-Secret", secret); response.Code != http.StatusNoContent {
		t.Errorf("clock alone: %d", response.Code)
	}
	if !slices.Equal(g.machine.steps, []string{"clock"}) {
		t.Errorf("steps %v", g.machine.steps)
	}
	g.envs(token, http.StatusOK)
}

func TestInitRefusesWhatIsMalformed(t *testing.T) {
	g := newGuest(t)
	for field, value := range map[string]any{
		"sandboxID": "UP", "templateID": "", "accessToken": "short", "hostname": "-x", "timestamp": "yesterday", "entropy": "AAAA",
		"envVars": map[string]string{"A=B": ""}, "defaultWorkdir": "relative",
	} {
		response := g.init(map[string]any{field: value}, http.StatusBadRequest)
		if !strings.Contains(response.Body.String(), field) {
			t.Errorf("%s: the message does not name it: %s", field, response.Body)
		}
	}
	g.init(map[string]any{"envVars": map[string]string{"A": strings.Repeat("x", 262_144)}}, http.StatusBadRequest)
	g.init(map[string]any{"envVars": map[string]string{"A": strings.Repeat("x", 2<<20)}}, http.StatusRequestEntityTooLarge)
	if len(g.machine.steps) != 0 {
		t.Errorf("steps %v", g.machine.steps)
	}
}

func TestWhoMayEnter(t *testing.T) {
	g := newGuest(t)
	g.init(nil, http.StatusNoContent)
	for _, route := range []string{
		"GET /files?path=/etc/passwd", "POST /files", "POST /files/compose", "POST /rpc", "GET /envs", "GET /metrics", "GET /nothing",
		"POST /process.Process/List", "POST /process.Process/Start", "POST /filesystem.Filesystem/Stat", "GET /init", "DELETE /health",
	} {
		method, path, _ := strings.Cut(route, " ")
		for _, sent := range []string{"", token + "0", token[1:], secret} {
			response := g.request(method, path, "{}", "X-Access-Token", sent, "Content-Type", "application/json")
			if response.Code != http.StatusUnauthorized || !strings.HasPrefix(response.Body.String(), `{"code":401,`) {
				t.Errorf("%s with %q: %d %s", route, sent, response.Code, response.Body)
			}
		}
	}
	for _, route := range []string{"/init", "/sync"} {
		for _, sent := range []string{"", "wrong", token} {
			response := g.request("POST", route, body(nil), "X-Control-Secret", sent, "X-Access-Token", token)
			if response.Code != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", route, sent, response.Code)
			}
		}
	}
	if response := g.request("GET", "/health", ""); response.Code != http.StatusNoContent {
		t.Errorf("/health: %d", response.Code)
	}
	if response := g.request("POST", "/sync", "", "X-Control-Secret", secret); response.Code != http.StatusNoContent {
		t.Errorf("/sync: %d", response.Code)
	}
}

func TestAPanicEndsOneRequest(t *testing.T) {
	server := httptest.NewServer(recovered(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") })))
	defer server.Close()
	for range 2 {
		if _, err := http.Get(server.URL); err == nil {
			t.Error("the request was answered")
		}
	}
}

func TestMetricsAreBytes(t *testing.T) {
	g := newGuest(t)
	g.init(nil, http.StatusNoContent)
	response := g.request("GET", "/metrics", "", "X-Access-Token", token)
	var sample map[string]float64
	if err := json.NewDecoder(bytes.NewReader(response.Body.Bytes())).Decode(&sample); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ts", "cpu_count", "mem_total", "mem_used", "mem_cache", "disk_used", "disk_total"} {
		if sample[name] <= 0 {
			t.Errorf("%s = %v", name, sample[name])
		}
	}
	if sample["mem_total"] < 64<<20 || sample["mem_used"] > sample["mem_total"] || sample["cpu_used_pct"] > 100*sample["cpu_count"] {
		t.Errorf("sample %v", sample)
	}
}
