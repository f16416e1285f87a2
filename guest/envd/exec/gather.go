package exec

import (
	"fmt"
	"net/http"
	"syscall"

	"lelantos.ai/guest/envd/reply"
	"lelantos.ai/guest/process"
)

// gather collects the output. JSON is text: a byte that is not UTF-8 becomes U+FFFD as it is marshalled.
func gather(w http.ResponseWriter, r *http.Request, p *process.Process, subscription *process.Subscription) {
	var output [2][]byte
	for {
		select {
		case event := <-subscription.Events:
			if event.End != nil {
				if overdue(p) {
					replyOverdue(w, p)
					return
				}
				reply.JSON(w, http.StatusOK, result{string(output[process.Stdout]), string(output[process.Stderr]), exitCode(event.End.Status)})
				return
			}
			if len(output[0])+len(output[1])+len(event.Data) > outputBytesMax {
				p.Signal(syscall.SIGKILL)
				reply.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf(
					"the command printed more than %d bytes and was killed: write to a file, or stream it", outputBytesMax))
				return
			}
			output[event.Stream] = append(output[event.Stream], event.Data...)
		case <-p.Overdue():
			replyOverdue(w, p)
			return
		case <-r.Context().Done():
			p.Signal(syscall.SIGKILL)
			return
		}
	}
}

func overdue(p *process.Process) bool {
	select {
	case <-p.Overdue():
		return true
	default:
		return false
	}
}

func replyOverdue(w http.ResponseWriter, p *process.Process) {
	reply.Error(w, http.StatusGatewayTimeout, fmt.Sprintf("the command (pid %d) did not end within its timeout and was killed", p.PID))
}

// exitCode is what a shell would say: 128 + n for signal n.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
