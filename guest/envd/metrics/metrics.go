// Package metrics serves `GET /metrics` in E2B's shape: bytes, and processor use in per cent of one CPU.
package metrics

import (
	"bufio"
	"bytes"
	"math"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lelantos.ai/guest/envd/reply"
)

type sample struct {
	Timestamp int64   `json:"ts"` // Unix seconds
	CPUCount  int     `json:"cpu_count"`
	CPUUsed   float64 `json:"cpu_used_pct"` // two busy CPUs are 200
	MemTotal  uint64  `json:"mem_total"`
	MemUsed   uint64  `json:"mem_used"`
	MemCache  uint64  `json:"mem_cache"`
	DiskUsed  uint64  `json:"disk_used"`
	DiskTotal uint64  `json:"disk_total"`
}

// Metrics remembers the processor's counters of the last request: use is what happened since.
type Metrics struct {
	mu          sync.Mutex
	busy, total float64
	used        float64
}

// ServeHTTP reads the counters.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s := sample{Timestamp: time.Now().Unix(), CPUCount: runtime.NumCPU(), CPUUsed: m.cpu()}
	memory := memory()
	s.MemTotal, s.MemCache = memory["MemTotal"], memory["Cached"]+memory["SReclaimable"]
	s.MemUsed = s.MemTotal - min(memory["MemAvailable"], s.MemTotal)
	var disk unix.Statfs_t
	if err := unix.Statfs("/", &disk); err != nil {
		reply.Error(w, http.StatusInternalServerError, "statfs /: "+err.Error())
		return
	}
	s.DiskTotal = disk.Blocks * uint64(disk.Bsize)
	s.DiskUsed = (disk.Blocks - disk.Bfree) * uint64(disk.Bsize)
	reply.JSON(w, http.StatusOK, s)
}

// cpu compares with the request before; counters move in steps of 10 ms, so two requests in one step get the same answer.
func (m *Metrics) cpu() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	var busy, total float64
	for column, field := range strings.Fields(string(line)) {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil || column > 8 { // guest time, after steal, is counted in user already
			continue
		}
		total += ticks
		if column != 4 && column != 5 { // idle and waiting for the disk
			busy += ticks
		}
	}
	if elapsed := total - m.total; elapsed > 0 {
		m.used = (busy - m.busy) / elapsed * float64(runtime.NumCPU()) * 100
		m.busy, m.total = busy, total
	}
	return math.Round(max(m.used, 0)*100) / 100
}

// memory is /proc/meminfo in bytes.
func memory() map[string]uint64 {
	values := map[string]uint64{}
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return values
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
			values[name] = kib * 1024
		}
	}
	return values
}
