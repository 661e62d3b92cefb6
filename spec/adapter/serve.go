package adapter

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

// Serve answers for an implementation until it is told to stop or there is no more
// to read. A request that breaks the protocol gets the status error; one that is no
// frame ends it besides, with an error, since nobody knows where the next one
// would begin.
func Serve(r io.Reader, w io.Writer, impl spec.Implementation) error {
	if err := impl.Validate(); err != nil {
		return err
	}
	s := &server{impl: impl, instances: map[string]*served{}}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		request, err := wire.Read(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			wire.Write(w, &wire.Frame{Metadata: failure("", err)})
			return fmt.Errorf("adapter: a request: %w", err)
		}
		if request.Metadata["cmd"] == "stop" && ValidateRequest(request) == nil {
			return nil
		}
		if err := wire.Write(w, s.answer(request)); err != nil {
			return fmt.Errorf("adapter: an answer: %w", err)
		}
	}
}

// A server holds the instances of one driver.
type server struct {
	impl      spec.Implementation
	instances map[string]*served
	made      int
}

type served struct {
	module *spec.Module
	call   proxy.Handler
}

// answer answers a request, with a frame that can be written.
func (s *server) answer(request *wire.Frame) *wire.Frame {
	answer, err := s.do(request)
	if err == nil {
		_, err = answer.Bytes()
	}
	if err == nil {
		return answer
	}
	id := request.Metadata["id"]
	_, isRefusal := errors.AsType[*refusal](err)
	switch kind := spec.KindOf(err); {
	case !isRefusal:
		return &wire.Frame{Metadata: failure(id, err)}
	case kind == spec.Unsupported:
		return &wire.Frame{Metadata: reply(id, unsupported, "message", message(err))}
	default:
		return &wire.Frame{Metadata: reply(id, rejected, "kind", string(kind), "message", message(err))}
	}
}

// A refusal is an error of the implementation, or of values that it cannot
// receive, and none of the protocol.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// reply makes an answer's metadata, of names and values.
func reply(id string, s status, more ...string) map[string]string {
	m := map[string]string{"status": string(s)}
	if len(id) > 0 && len(id) <= maxID {
		m["id"] = id
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

const (
	maxID      = 64
	maxMessage = 4 << 10
)

func failure(id string, err error) map[string]string {
	return reply(id, failed, "message", message(err))
}

// message is an error as a frame can hold it.
func message(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxMessage)], "\ufffd")
}

// do makes a request's call.
func (s *server) do(request *wire.Frame) (answer *wire.Frame, err error) {
	if err := ValidateRequest(request); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	switch request.Metadata["cmd"] {
	case "hello":
		return s.hello(request)
	case "new":
		return s.open(request)
	case "close":
		return s.close(request)
	}
	return s.call(request)
}

func (s *server) hello(request *wire.Frame) (*wire.Frame, error) {
	if got := request.Metadata["protocol"]; got != strconv.Itoa(Version) {
		m := failure("", fmt.Errorf("protocol: want %d, got %s", Version, got))
		m["protocol"] = strconv.Itoa(Version)
		return &wire.Frame{Metadata: m}, nil
	}
	h := hello{s.impl.Name, s.impl.Version, s.impl.Language, s.impl.UnitRoundoff, s.impl.Offers}
	if h.offers == nil {
		for _, m := range spec.Modules() {
			if s.impl.Has(m) {
				h.offers = append(h.offers, m.Name)
			}
		}
	}
	m, err := h.metadata()
	return &wire.Frame{Metadata: m}, err
}

func (s *server) open(request *wire.Frame) (*wire.Frame, error) {
	name := request.Metadata["module"]
	m := spec.ModuleByName(name)
	if m == nil || !s.impl.Has(m) {
		return nil, &refusal{spec.Reject(spec.Unsupported, "adapter", "module", "one that is offered", fmt.Sprintf("%q", name))}
	}
	decoder := wire.Decoder{Module: m, Tensors: request.Tensors}
	config, err := decoder.DecodeConfig([]byte(request.Metadata["args"]))
	if err != nil {
		return nil, &refusal{err}
	}
	if err := allUsed(&decoder); err != nil {
		return nil, err
	}
	if v := variantOf(config); m.HasVariant(v) && !s.impl.OffersVariant(m, v) {
		return nil, &refusal{spec.Reject(spec.Unsupported, name, "variant", "one that is offered", fmt.Sprintf("%q", string(v)))}
	}
	call := proxy.Local(s.impl, m)
	if err := call(&proxy.Call{Module: m, Op: proxy.New, Args: []any{config}}); err != nil {
		return nil, &refusal{err}
	}
	s.made++
	handle := "h" + strconv.Itoa(s.made)
	s.instances[handle] = &served{m, call}
	return &wire.Frame{Metadata: reply(request.Metadata["id"], ok, "handle", handle)}, nil
}

// variantOf returns a config's variant.
func variantOf(config any) spec.Variant {
	if f := reflect.ValueOf(config).FieldByName("Variant"); f.IsValid() {
		return f.Interface().(spec.Variant)
	}
	return spec.Documented
}

func allUsed(d *wire.Decoder) error {
	if names := d.Unused(); len(names) > 0 {
		return fmt.Errorf("tensors that nothing refers to: %.400q", names)
	}
	return nil
}

// instance returns the instance that a request is for.
func (s *server) instance(request *wire.Frame) (*served, error) {
	i := s.instances[request.Metadata["handle"]]
	if i == nil {
		return nil, fmt.Errorf("handle: want one that is open, got %s", quoted(request.Metadata, "handle"))
	}
	return i, nil
}

func (s *server) close(request *wire.Frame) (*wire.Frame, error) {
	i, err := s.instance(request)
	if err != nil {
		return nil, err
	}
	delete(s.instances, request.Metadata["handle"])
	if err := i.call(&proxy.Call{Module: i.module, Op: proxy.Close}); err != nil {
		return nil, &refusal{err}
	}
	return &wire.Frame{Metadata: reply(request.Metadata["id"], ok)}, nil
}

// call makes a call, or times it.
func (s *server) call(request *wire.Frame) (*wire.Frame, error) {
	i, err := s.instance(request)
	if err != nil {
		return nil, err
	}
	name := request.Metadata["op"]
	if !s.impl.OffersOperation(i.module, name) {
		return nil, &refusal{spec.Reject(spec.Unsupported, i.module.Name, "operation", "one that is offered", fmt.Sprintf("%q", name))}
	}
	op := i.module.Operation(name)
	decoder := wire.Decoder{Module: i.module, Tensors: request.Tensors}
	args, shapes, err := decoder.DecodeArgs(op, []byte(request.Metadata["args"]))
	if err != nil {
		return nil, &refusal{err}
	}
	if err := allUsed(&decoder); err != nil {
		return nil, err
	}
	c := &proxy.Call{Module: i.module, Op: op, Args: args, Dst: op.NewResult()}
	id := request.Metadata["id"]
	if request.Metadata["cmd"] == "time" {
		repeat, err := strconv.Atoi(request.Metadata["repeat"])
		if err != nil {
			return nil, err
		}
		out, err := i.time(c, repeat)
		return &wire.Frame{Metadata: reply(id, ok, "out", string(out))}, err
	}
	if err := i.call(c); err != nil {
		return nil, &refusal{err}
	}
	var encoder wire.Encoder
	out, err := encoder.EncodeResult(op, c.Dst, shapes)
	return &wire.Frame{Metadata: reply(id, ok, "out", string(out)), Tensors: encoder.Tensors}, err
}

// time makes a call some times, and returns how many nanoseconds each took.
func (i *served) time(c *proxy.Call, repeat int) (json.RawMessage, error) {
	var out struct {
		NS []int64 `json:"ns"`
	}
	for range repeat {
		began := time.Now()
		err := i.call(c)
		out.NS = append(out.NS, time.Since(began).Nanoseconds())
		if err != nil {
			return nil, &refusal{err}
		}
	}
	return json.Marshal(out)
}
