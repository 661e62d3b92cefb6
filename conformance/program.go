package conformance

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A program is a config and the calls that one instance of it receives. It is
// what cross-cutting checks run, what a vector freezes and what a recording
// replays.
type program struct {
	config any
	steps  []step
}

// A step is one call of a program.
type step struct {
	op   *spec.Operation
	args []any
}

// A badStep is a call that must be refused.
type badStep struct {
	what string
	step
	kind spec.ErrorKind
}

// call makes a step by the operation's name.
func call(m *spec.Module, operation string, args ...any) step {
	o := m.Operation(operation)
	for i := range o.Args {
		if reflect.TypeOf(args[i]) != o.ArgType(i) {
			panic(fmt.Sprintf("conformance: %s %s: argument %s is %T, not %v", m.Name, operation, o.Args[i].Name, args[i], o.ArgType(i)))
		}
	}
	return step{o, args}
}

// An outcome is what a step came to.
type outcome struct {
	dst any // as Operation.NewResult
	err error
}

// start opens an instance of impl for config.
func start(impl spec.Implementation, m *spec.Module, config any, layers ...proxy.Layer) (proxy.Handler, error) {
	h := proxy.Stack(proxy.Local(impl, m), layers...)
	return h, h(&proxy.Call{Module: m, Op: proxy.New, Args: []any{config}})
}

// do makes one call. Its outcome is a copy: a view of a module's memory is good
// until the next call only.
func do(h proxy.Handler, m *spec.Module, s step) outcome {
	dst := s.op.NewResult()
	err := h(&proxy.Call{Module: m, Op: s.op, Args: s.args, Dst: dst})
	return outcome{clone(dst), err}
}

// queries are the calls without arguments that every program ends with: they
// show the state.
func queries(m *spec.Module) []step {
	var list []step
	for i := range m.Operations {
		if o := &m.Operations[i]; o.IsQuery() && len(o.Args) == 0 {
			list = append(list, step{o, nil})
		}
	}
	return list
}

// complete returns the program with the module's queries at its end.
func (p program) complete(m *spec.Module) program {
	return program{p.config, append(p.steps[:len(p.steps):len(p.steps)], queries(m)...)}
}

// run runs a program whose every call must be accepted.
func (t *trial) run(impl spec.Implementation, m *module, p program, layers ...proxy.Layer) []outcome {
	t.Helper()
	h, err := start(impl, m.spec, p.config, layers...)
	t.must(err)
	outcomes := make([]outcome, len(p.steps))
	for i, s := range p.steps {
		outcomes[i] = do(h, m.spec, s)
		t.must(outcomes[i].err)
	}
	return outcomes
}

// sameOutcomes compares two runs of a program under the module's tolerances.
func (t *trial) sameOutcomes(m *module, p program, got, want []outcome) {
	t.Helper()
	for i, s := range p.steps {
		t.sameOutcome(m, p.config, s, got[i], want[i])
	}
}

func (t *trial) sameOutcome(m *module, config any, s step, got, want outcome) {
	t.Helper()
	switch {
	case want.err != nil:
		t.refused(s.op.Name, got.err)
	case got.err != nil:
		t.must(got.err)
	case s.op.ResultType() == nil:
		t.asserted++
	case m.equal[s.op.Name] != nil:
		m.equal[s.op.Name](t, config, s.args, got.dst, want.dst)
	default:
		t.sameNumbers(s.op.Name, reflect.ValueOf(got.dst).Elem(), reflect.ValueOf(want.dst).Elem())
	}
}

// sameNumbers compares results exactly, but for float64 numbers, which may be off
// by 2⁻⁵⁰ of themselves: rates and means, one division each.
func (t *trial) sameNumbers(path string, got, want reflect.Value) {
	t.Helper()
	switch got.Kind() {
	case reflect.Float64:
		if math.IsNaN(got.Float()) && math.IsNaN(want.Float()) {
			t.asserted++ // no sense, but the same no sense
			return
		}
		t.within(path, got.Float(), want.Float(), 0x1p-50*math.Abs(want.Float()))
	case reflect.Struct:
		for i := range got.NumField() {
			t.sameNumbers(path+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))
		}
	default:
		t.sameBits(path, got.Interface(), want.Interface())
	}
}

// isOffered reports whether impl offers what a step calls.
func isOffered(impl *spec.Implementation, m *spec.Module, s step) bool {
	return impl.OffersOperation(m, s.op.Name)
}

// offered leaves out of a program the calls that impl does not offer.
func (p program) offered(impl *spec.Implementation, m *spec.Module) program {
	kept := program{config: p.config}
	for _, s := range p.steps {
		if isOffered(impl, m, s) {
			kept.steps = append(kept.steps, s)
		}
	}
	return kept
}

// isUnsupported reports whether a call was refused because the instance lacks
// the operation.
func isUnsupported(err error) bool { return errors.Is(err, spec.Unsupported) }
