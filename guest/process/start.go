package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Start runs a command. The subscription hears it from its first byte.
func (t *Table) Start(command Command) (*Process, *Subscription, error) {
	path, err := executable(command.Path, command.Env)
	if err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(command.Dir); err != nil || !info.IsDir() {
		return nil, nil, fmt.Errorf("cwd '%s' is not a directory", command.Dir)
	}
	pipes, err := openPipes(command.Stdin)
	if err != nil {
		return nil, nil, err
	}
	defer pipes.closeChildEnds()
	attr := &syscall.ProcAttr{
		Dir: command.Dir, Env: command.Env,
		Files: []uintptr{uintptr(pipes.child[0]), uintptr(pipes.child[1]), uintptr(pipes.child[2])},
		Sys:   t.attributes(command),
	}
	pid, ended, err := t.Reaper.Start(append([]string{path}, command.Args...), attr)
	if err != nil {
		pipes.closeOwnEnds()
		return nil, nil, err
	}
	p := &Process{
		Command: command, PID: pid, table: t,
		input: input{pipe: pipes.stdin}, watching: map[*Subscription]struct{}{}, overdue: make(chan struct{}),
	}
	subscription := p.Subscribe()
	if !command.Deadline.IsZero() {
		p.deadline = time.AfterFunc(time.Until(command.Deadline), func() {
			p.Signal(syscall.SIGKILL)
			close(p.overdue)
		})
	}
	t.add(p)
	go p.follow(pipes, ended)
	return p, subscription, nil
}

func (t *Table) attributes(command Command) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setsid: true}
	user := command.User
	if os.Geteuid() == 0 || int(user.UID) != os.Geteuid() {
		attributes.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	}
	if t.Cgroup > 0 {
		attributes.UseCgroupFD, attributes.CgroupFD = true, t.Cgroup
	}
	return attributes
}

// follow reads the output to its end, then tells it.
func (p *Process) follow(pipes *pipes, ended <-chan syscall.WaitStatus) {
	var reading sync.WaitGroup
	reading.Go(func() { p.forward(pipes.stdout, Stdout) })
	reading.Go(func() { p.forward(pipes.stderr, Stderr) })
	status := <-ended
	p.exited.Store(true)
	quietDeadline := time.Now().Add(quietAfterExit)
	_ = pipes.stdout.SetReadDeadline(quietDeadline) // fails on a pipe at its end, which needs none
	_ = pipes.stderr.SetReadDeadline(quietDeadline)
	reading.Wait()
	p.finish(&End{Status: status})
}

// executable finds the file to run as a shell would. An image without bash runs what its sh understands of the command.
func executable(name string, environment []string) (string, error) {
	if found := search(name, environment); found != "" {
		return found, nil
	}
	if name == "/bin/bash" || name == "bash" {
		if found := search("/bin/sh", nil); found != "" {
			return found, nil
		}
	}
	return "", fmt.Errorf("executable '%s' was not found", name)
}

func search(name string, environment []string) string {
	if strings.ContainsRune(name, '/') {
		if isExecutable(name) || !filepath.IsAbs(name) { // a relative one is looked up in the process's own directory, by the kernel
			return name
		}
		return ""
	}
	for _, variable := range environment {
		if folders, isPath := strings.CutPrefix(variable, "PATH="); isPath && name != "" {
			for folder := range strings.SplitSeq(folders, ":") {
				if path := filepath.Join(folder, name); filepath.IsAbs(path) && isExecutable(path) {
					return path
				}
			}
		}
	}
	return ""
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// pipes between the daemon and a process: the child's ends block, as programs expect; the daemon's do not.
type pipes struct {
	child                 [3]int
	stdin, stdout, stderr *os.File
}

func openPipes(stdin bool) (*pipes, error) {
	p := &pipes{child: [3]int{-1, -1, -1}}
	err := p.open(stdin)
	if err != nil {
		p.closeChildEnds()
		p.closeOwnEnds()
		return nil, fmt.Errorf("open pipes: %w", err)
	}
	return p, nil
}

func (p *pipes) open(stdin bool) error {
	var err error
	if stdin {
		if p.child[0], p.stdin, err = pipe(true); err != nil {
			return err
		}
	} else if p.child[0], err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if p.child[1], p.stdout, err = pipe(false); err != nil {
		return err
	}
	p.child[2], p.stderr, err = pipe(false)
	return err
}

// pipe yields the child's end and the daemon's; childReads says which way it flows.
func pipe(childReads bool) (child int, own *os.File, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, err
	}
	child, mine := ends[1], ends[0]
	if childReads {
		child, mine = ends[0], ends[1]
	}
	if err := unix.SetNonblock(mine, true); err != nil {
		unix.Close(child)
		unix.Close(mine)
		return -1, nil, err
	}
	return child, os.NewFile(uintptr(mine), "pipe"), nil
}

func (p *pipes) closeChildEnds() {
	for _, fd := range p.child {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (p *pipes) closeOwnEnds() {
	for _, file := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if file != nil {
			file.Close()
		}
	}
}
