package adapter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

// Options say how an adapter is run. The zero value is the default.
type Options struct {
	// Timeout is how long an answer may take. Default 10 s.
	Timeout time.Duration
	// StartTimeout is how long the answer to hello may take, the start of the program
	// with it. Default 10 s, or Timeout where that is longer.
	StartTimeout time.Duration
	// Validate holds every frame, both ways, to the schema, and wants every tensor of
	// an answer to be referred to.
	Validate bool
}

// DefaultTimeout is how long an answer may take.
const DefaultTimeout = 10 * time.Second

// stopGrace is how long a process may take to end when it is asked to.
const stopGrace = 2 * time.Second

// A Process is a running adapter: one process, and after a lapse another one. Its
// calls take turns.
type Process struct {
	command []string
	options Options
	ctx     context.Context
	hello   *hello

	mu      sync.Mutex
	child   *child // the process that runs, or the last one
	closed  bool
	id      int
	repeat  int // how often an operation is timed, 0 where it is called
	timed   time.Duration
	traffic Traffic
}

// Traffic is what went through the pipe.
type Traffic struct {
	// Calls is the number of requests that were answered.
	Calls int
	// Elapsed is the time that they took, there and back.
	Elapsed time.Duration
	// Restarts is the number of processes that were started after the first.
	Restarts int
}

// String is the traffic in a line.
func (t Traffic) String() string {
	line := fmt.Sprintf("%d calls over the pipe", t.Calls)
	if seconds := t.Elapsed.Seconds(); seconds > 0 {
		line += fmt.Sprintf(", %.0f a second", float64(t.Calls)/seconds)
	}
	if t.Restarts > 0 {
		line += fmt.Sprintf("; restarted %d times", t.Restarts)
	}
	return line
}

// Start starts an adapter and says hello. An error is a line that says what was
// read instead of an answer. Once ctx is done, calls break off.
func Start(ctx context.Context, command []string, options Options) (*Process, error) {
	if len(command) == 0 {
		return nil, spec.Reject(spec.Invalid, "adapter", "command", "a program and its arguments", "none")
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	if options.StartTimeout == 0 {
		options.StartTimeout = max(options.Timeout, DefaultTimeout)
	}
	if least := min(options.Timeout, options.StartTimeout); least < 0 {
		return nil, spec.Reject(spec.Invalid, "adapter", "timeout", "a time above 0", least)
	}
	p := &Process{command: command, options: options, ctx: ctx}
	var err error
	if p.hello, err = p.launch(); err != nil {
		return nil, p.inALine(err)
	}
	impl := p.Implementation()
	if err := impl.Validate(); err != nil {
		p.child.stop(stopGrace)
		return nil, p.inALine(fmt.Errorf("hello: %w", err))
	}
	return p, nil
}

// inALine names the program in an error, and keeps it to a line.
func (p *Process) inALine(err error) error {
	if l, ok := errors.AsType[*lapse](err); ok {
		err = errors.New(l.line())
	}
	return fmt.Errorf("adapter %s: %w", p.command[0], err)
}

// launch starts a process and says hello.
func (p *Process) launch() (*hello, error) {
	c, err := launch(p.command)
	if err != nil {
		return nil, err
	}
	p.child = c
	answer, err := p.exchange("hello", p.options.StartTimeout, &wire.Frame{Metadata: map[string]string{
		"cmd": "hello", "protocol": strconv.Itoa(Version), "spec": spec.Version,
	}})
	if err != nil {
		return nil, err
	}
	h, err := parseHello(answer)
	if err != nil {
		return nil, c.lapse(spec.Crashed, fmt.Sprintf("hello: %v", err))
	}
	return h, nil
}

// Implementation returns what the adapter offers. Each of its instances lives in
// the process that made it.
func (p *Process) Implementation() spec.Implementation {
	h := p.hello
	var offered []*spec.Module
	for _, m := range spec.Modules() {
		if slices.ContainsFunc(h.offers, func(entry string) bool { return moduleName(entry) == m.Name }) {
			offered = append(offered, m)
		}
	}
	impl := spec.Implementation{Name: h.name, Version: h.version, Language: h.language, UnitRoundoff: h.unitRoundoff, Offers: h.offers}
	return proxy.Provide(impl, offered, func(m *spec.Module) proxy.Handler { return (&instance{process: p, module: m}).call })
}

// Smoke makes one instance of the first module that is offered, with its default
// config, and asks it for its stats, or whatever its first query is. What the
// answers say is for the suite to judge: an error, in a line, says that there were
// none.
func (p *Process) Smoke() error {
	impl := p.Implementation()
	for _, m := range spec.Modules() {
		if impl.Has(m) {
			err := p.smoke(m)
			if l, ok := errors.AsType[*lapse](err); ok {
				return p.inALine(l)
			}
			return nil
		}
	}
	return nil
}

func (p *Process) smoke(m *spec.Module) error {
	i := &instance{process: p, module: m}
	if err := i.do(&proxy.Call{Module: m, Op: proxy.New, Args: []any{m.Config}}); err != nil {
		return err
	}
	for o := range m.Operations {
		if op := &m.Operations[o]; op.IsQuery() && len(op.Args) == 0 && !op.Optional {
			if err := i.do(&proxy.Call{Module: m, Op: op, Dst: op.NewResult()}); err != nil {
				return err
			}
			break
		}
	}
	return i.do(&proxy.Call{Op: proxy.Close})
}

// Time runs calls, and returns how long the operations among them took where they
// were made, without the pipe, once each. Meanwhile operations are sent as time, to be
// made repeat times, and write no result. The mean of the later half counts: the
// earlier ones warm up what waiting at the pipe has cooled, caches and the clock
// of the processor.
func (p *Process) Time(repeat int, calls func() error) (time.Duration, error) {
	p.setTiming(repeat)
	err := calls()
	return p.setTiming(0), err
}

// setTiming has operations timed, so many times each, or no longer, and returns the
// time so far.
func (p *Process) setTiming(repeat int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if repeat > 0 {
		p.timed = 0
	}
	p.repeat = repeat
	return p.timed
}

// Traffic returns what went through the pipe so far.
func (p *Process) Traffic() Traffic {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.traffic
}

// Close asks the adapter to stop, and kills it and what it left behind if it does
// not. There are no calls afterwards.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.child.stop(min(stopGrace, p.options.Timeout))
	return nil
}

// exchange sends a request and returns the answer to it. An error is a lapse,
// after which the process has ended, or a request that no frame can hold.
func (p *Process) exchange(what string, timeout time.Duration, request *wire.Frame) (*wire.Frame, error) {
	if p.options.Validate {
		if err := ValidateRequest(request); err != nil {
			return nil, p.child.lapse(spec.Crashed, fmt.Sprintf("%s: the request of the runner itself: %v", what, err))
		}
	}
	data, err := request.Bytes()
	if err != nil {
		return nil, spec.Reject(spec.Invalid, "adapter", what, "a request that a frame can hold", err)
	}
	began := time.Now()
	answer, l := p.child.ask(p.ctx, data, timeout)
	if l != nil {
		if p.ctx.Err() != nil {
			l.what = "interrupted"
		}
		l.what = what + ": " + l.what
		return nil, l
	}
	p.traffic.Calls++
	p.traffic.Elapsed += time.Since(began)
	if got, want := answer.Metadata["id"], request.Metadata["id"]; want != "" && got != want {
		return nil, p.child.lapse(spec.Crashed, fmt.Sprintf("%s: id: want %s, got %s%s", what, quoted(request.Metadata, "id"), quoted(answer.Metadata, "id"), because(answer.Metadata)))
	}
	if p.options.Validate {
		if err := ValidateAnswer(request.Metadata["cmd"], answer); err != nil {
			return nil, p.child.lapse(spec.Crashed, fmt.Sprintf("%s: %v", what, err))
		}
	}
	return answer, nil
}

// running sees to it that there is a process.
func (p *Process) running() error {
	if p.closed {
		return &lapse{spec.Crashed, "the adapter was closed", nil}
	}
	if !p.child.ended {
		return nil
	}
	p.traffic.Restarts++
	again, err := p.launch()
	switch l, ok := errors.AsType[*lapse](err); {
	case ok:
		l.what = "after a restart: " + l.what
		return l
	case err != nil:
		return &lapse{spec.Crashed, "after a crash it does not start again: " + err.Error(), nil}
	case !reflect.DeepEqual(again, p.hello):
		return p.child.lapse(spec.Crashed, fmt.Sprintf("after a restart it is another one: want %v, got %v", p.hello, again))
	}
	return nil
}
