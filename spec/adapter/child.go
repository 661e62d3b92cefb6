package adapter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// A child is one process of an adapter, from its start to its end. It is used by
// one call at a time.
type child struct {
	cmd           *exec.Cmd
	stdin, stdout *os.File
	answers       *bufio.Reader // over stdout
	log           tail          // of stderr
	logged        chan struct{} // closed when stderr is at its end
	stderr        *os.File
	ended         bool
}

// A lapse is what an adapter did instead of answering.
type lapse struct {
	symptom spec.Symptom
	what    string
	log     []string // the last lines of stderr
}

// Error is the lapse with the last lines of stderr.
func (l *lapse) Error() string {
	if len(l.log) == 0 {
		return l.what
	}
	return l.what + "\nits stderr ends with\n  " + strings.Join(l.log, "\n  ")
}

// line is the lapse in one line.
func (l *lapse) line() string {
	if len(l.log) == 0 {
		return l.what
	}
	return fmt.Sprintf("%s; its stderr ends with %.200q", l.what, l.log[len(l.log)-1])
}

// launch starts a process of the command.
func launch(command []string) (*child, error) {
	cmd := exec.Command(command[0], command[1:]...)
	ownGroup(cmd)
	var own, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			f.Close()
		}
	}
	// Pipes of our own, since those of exec have no deadlines and make Wait wait for
	// whoever inherited them.
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(own, theirs...))
			return nil, err
		}
		if i == 0 {
			r, w = w, r
		}
		own, theirs = append(own, r), append(theirs, w)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err := cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(own)
		return nil, err
	}
	c := &child{
		cmd: cmd, stdin: own[0], stdout: own[1], stderr: own[2],
		answers: bufio.NewReaderSize(own[1], 64<<10), logged: make(chan struct{}),
	}
	go func() {
		defer close(c.logged)
		io.Copy(&c.log, c.stderr)
	}()
	return c, nil
}

// ask writes a request and reads the answer. A lapse ends the process.
func (c *child) ask(ctx context.Context, request []byte, timeout time.Duration) (*wire.Frame, *lapse) {
	c.setDeadline(time.Now().Add(timeout))
	defer context.AfterFunc(ctx, func() { c.setDeadline(time.Unix(1, 0)) })()
	if n, err := c.stdin.Write(request); err != nil {
		symptom, what := spec.Crashed, fmt.Sprintf("it read %d of the %d bytes of the request", n, len(request))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			symptom, what = spec.TimedOut, fmt.Sprintf("%s within %v", what, timeout)
		}
		c.stdout.SetReadDeadline(time.Now().Add(logGrace))
		c.answers.Peek(1)
		return nil, c.lapse(symptom, what+c.written(nil))
	}
	seen := head{Reader: c.answers}
	answer, err := wire.Read(&seen)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, c.lapse(spec.TimedOut, fmt.Sprintf("no answer within %v: %s%s", timeout, without(err, os.ErrDeadlineExceeded), c.written(seen.text)))
	case err == io.EOF:
		return nil, c.lapse(spec.Crashed, "no answer")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, c.lapse(spec.Crashed, fmt.Sprintf("half an answer: %s%s", without(err, io.ErrUnexpectedEOF), c.written(seen.text)))
	case err != nil:
		return nil, c.lapse(spec.Crashed, fmt.Sprintf("its answer is %v%s", err, c.written(seen.text)))
	case c.answers.Buffered() > 0:
		return nil, c.lapse(spec.Crashed, fmt.Sprintf("%d bytes behind its answer", c.answers.Buffered()))
	}
	return answer, nil
}

// without is an error's text without that of the one that it wraps.
func without(err, wrapped error) string {
	return strings.TrimSuffix(err.Error(), ": "+wrapped.Error())
}

// written shows the beginning of what the adapter wrote: what was read, and what
// came with it.
func (c *child) written(read []byte) string {
	more, _ := c.answers.Peek(min(c.answers.Buffered(), headBytes-len(read)))
	if text := append(read, more...); len(text) > 0 {
		return fmt.Sprintf("; its stdout is %q", text)
	}
	return ""
}

// setDeadline ends the reading and writing that take longer.
func (c *child) setDeadline(t time.Time) {
	c.stdin.SetWriteDeadline(t)
	c.stdout.SetReadDeadline(t)
}

// lapse ends the process and says what it did, and how it ended where that was not
// by our hand.
func (c *child) lapse(symptom spec.Symptom, what string) *lapse {
	if end := c.end(); end != "" {
		if symptom == spec.TimedOut { // somebody else holds its stdout open
			symptom = spec.Crashed
		}
		what += "; it ended with " + end
	}
	return &lapse{symptom, what, c.log.lines()}
}

// logGrace is how long stderr is read when the process is gone: another one may
// hold it open.
const logGrace = 100 * time.Millisecond

// end kills what is left of the process and its group, and says how the process
// ended where it did so by itself.
func (c *child) end() string {
	if c.ended {
		return ""
	}
	c.ended = true
	c.stdin.Close()
	killGroup(c.cmd)
	c.cmd.Wait()
	c.stderr.SetReadDeadline(time.Now().Add(logGrace))
	<-c.logged
	c.stdout.Close()
	c.stderr.Close()
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return ""
	}
	return c.cmd.ProcessState.String()
}

// stop asks the process to end, and ends it after some grace.
func (c *child) stop(grace time.Duration) {
	if c.ended {
		return
	}
	c.setDeadline(time.Now().Add(grace))
	wire.Write(c.stdin, &wire.Frame{Metadata: map[string]string{"cmd": "stop"}})
	c.stdin.Close()
	io.Copy(io.Discard, c.stdout) // ends with the process
	c.end()
}
