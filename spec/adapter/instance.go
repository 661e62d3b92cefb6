package adapter

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

// An instance is one instance of a module in the adapter's process.
type instance struct {
	process *Process
	module  *spec.Module
	child   *child // nil where there is no instance, new not yet or not accepted
	handle  string
}

// call is a proxy.Handler. A lapse is a Breach.
func (i *instance) call(c *proxy.Call) error {
	err := i.do(c)
	if l, ok := errors.AsType[*lapse](err); ok {
		panic(&proxy.Breach{Symptom: l.symptom, Message: l.Error()})
	}
	return err
}

// do makes a call. An error is a lapse, or the adapter's refusal.
func (i *instance) do(c *proxy.Call) error {
	p := i.process
	p.mu.Lock()
	defer p.mu.Unlock()
	switch c.Op {
	case proxy.New:
		return i.open(c.Args[0])
	case proxy.Close:
		return i.close()
	}
	if i.child == nil || i.child.ended {
		return &lapse{spec.Crashed, c.Op.Name + ": the process that had this instance has ended", nil}
	}
	var encoder wire.Encoder
	args, err := encoder.EncodeArgs(c.Op, c.Args)
	if err != nil {
		return err // what has no encoding is invalid here, and everywhere
	}
	request := map[string]string{"handle": i.handle, "op": c.Op.Name, "args": string(args)}
	if p.repeat > 0 {
		request["repeat"] = strconv.Itoa(p.repeat)
		return i.time(c, request, encoder.Tensors)
	}
	answer, err := i.ask("call", c.Op.Name, request, encoder.Tensors)
	if err != nil {
		return err
	}
	return i.result(c, answer)
}

func (i *instance) open(config any) error {
	if err := i.process.running(); err != nil {
		return err
	}
	var encoder wire.Encoder
	args, err := encoder.EncodeConfig(config)
	if err != nil {
		return err
	}
	answer, err := i.ask("new", "new "+i.module.Name, map[string]string{"module": i.module.Name, "args": string(args)}, encoder.Tensors)
	if err != nil {
		return err
	}
	if i.handle = answer.Metadata["handle"]; i.handle == "" {
		return i.process.child.lapse(spec.Crashed, "new "+i.module.Name+": handle: want one, got none")
	}
	i.child = i.process.child
	return nil
}

// close closes the instance where its process still runs.
func (i *instance) close() error {
	if i.child == nil || i.child.ended {
		return nil
	}
	_, err := i.ask("close", "close", map[string]string{"handle": i.handle}, nil)
	i.child = nil
	return err
}

// time has the adapter time a call.
func (i *instance) time(c *proxy.Call, request map[string]string, tensors []wire.Tensor) error {
	answer, err := i.ask("time", c.Op.Name, request, tensors)
	if err != nil {
		return err
	}
	ns, err := times(answer, i.process.repeat)
	if err != nil {
		return i.child.lapse(spec.Crashed, fmt.Sprintf("%s: %v", c.Op.Name, err))
	}
	warm := ns[len(ns)/2:]
	total := 0.0
	for _, n := range warm {
		total += n
	}
	i.process.timed += time.Duration(total / float64(len(warm)))
	return nil
}

// result decodes the answer to a call into its destination.
func (i *instance) result(c *proxy.Call, answer *wire.Frame) error {
	dst, err := decode(i.module, c.Op, answer, i.process.options.Validate)
	if err != nil {
		return i.child.lapse(spec.Crashed, fmt.Sprintf("%s: %v", c.Op.Name, err))
	}
	if dst != nil {
		reflect.ValueOf(c.Dst).Elem().Set(reflect.ValueOf(dst).Elem())
	}
	return nil
}

// decode decodes the result in an answer, all of it. A fussy caller wants nothing
// else in the frame.
func decode(m *spec.Module, op *spec.Operation, answer *wire.Frame, fussy bool) (any, error) {
	decoder := wire.Decoder{Module: m, Tensors: answer.Tensors, Strict: true}
	dst := op.NewResult()
	err := decoder.DecodeResult(op, []byte(answer.Metadata["out"]), dst)
	if err == nil && fussy {
		err = allUsed(&decoder)
	}
	return dst, err
}

// ask sends a request under a new id and returns the answer, if its status is ok.
func (i *instance) ask(cmd, what string, request map[string]string, tensors []wire.Tensor) (*wire.Frame, error) {
	p := i.process
	p.id++
	request["cmd"], request["id"] = cmd, strconv.Itoa(p.id)
	answer, err := p.exchange(what, p.options.Timeout, &wire.Frame{Metadata: request, Tensors: tensors})
	if err != nil {
		return nil, err
	}
	m := answer.Metadata
	switch status(m["status"]) {
	case ok:
		return answer, nil
	case rejected:
		return nil, rejection(m)
	case unsupported:
		return nil, spec.Reject(spec.Unsupported, i.module.Name, what, "what is offered", "status unsupported"+because(m))
	case failed:
		return nil, p.child.lapse(spec.Crashed, what+": the adapter failed"+because(m))
	}
	return nil, p.child.lapse(spec.Crashed, fmt.Sprintf("%s: status: want one of %s, got %s", what,
		strings.Join([]string{string(ok), string(rejected), string(unsupported), string(failed)}, ", "), quoted(m, "status")))
}
