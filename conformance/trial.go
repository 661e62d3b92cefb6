package conformance

import (
	"fmt"
	"math"
	"sync"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A trial is one try of one check: the source of its random draws, the
// implementation under test, and what was asserted of it.
type trial struct {
	*rapid.T
	// impl is the implementation under test. Its calls are recorded and contained.
	impl spec.Implementation
	// ref is the reference, called directly.
	ref spec.Implementation
	// u is the implementation's unit roundoff.
	u float64

	requirement *spec.Requirement
	symptom     spec.Symptom // what a difference means in this check
	where       string       // begins the message of a failure
	recordings  []*recording
	unfrozen    bool // said of the recordings to come
	instances   []proxy.Handler
	asserted    int
	used        float64
	failure     *failure
}

// A failure is what a trial found.
type failure struct {
	symptom    spec.Symptom
	message    string
	recordings []*recording
}

func newTrial(t *rapid.T, impl spec.Implementation, r *spec.Requirement, layers ...proxy.Layer) *trial {
	tr := &trial{T: t, ref: ref.Implementation(), u: impl.Roundoff(), requirement: r, symptom: spec.Differs}
	layers = append([]proxy.Layer{record(func(rec *recording) {
		rec.unfrozen = tr.unfrozen
		tr.recordings = append(tr.recordings, rec)
	})}, layers...)
	tr.impl = proxy.Connect(impl, func(m *spec.Module) proxy.Handler {
		h := proxy.Stack(proxy.Local(impl, m), layers...)
		tr.instances = append(tr.instances, h)
		return h
	})
	return tr
}

// judge runs assertions on an implementation outside a property, and returns the
// first that fails.
func judge(impl spec.Implementation, assertions func(*trial)) (err error) {
	t := &trial{impl: impl, ref: ref.Implementation(), u: impl.Roundoff(), symptom: spec.Differs}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *failure:
			err = fmt.Errorf("%s: %s", r.symptom, r.message)
		case *proxy.Breach:
			err = r
		default:
			panic(r)
		}
	}()
	assertions(t)
	return nil
}

// close closes every instance that the trial made, up to the first that is lost
// over it: closing the others would only take its time again.
func (t *trial) close() (lost *proxy.Breach) {
	instances := t.instances
	t.instances = nil
	return closeAll(instances)
}

func closeAll(instances []proxy.Handler) (lost *proxy.Breach) {
	for _, h := range instances {
		if lost := closeOne(h); lost != nil {
			return lost
		}
	}
	return nil
}

// closeOne closes an instance, and reports whether it crashed or hung over it. What
// else it says or panics with is of no requirement.
func closeOne(h proxy.Handler) (lost *proxy.Breach) {
	defer func() {
		if b, ok := recover().(*proxy.Breach); ok && isLost(b.Symptom) {
			lost = b
		}
	}()
	h(&proxy.Call{Op: proxy.Close})
	return nil
}

// isLost reports whether an implementation that failed so is asked nothing more.
func isLost(s spec.Symptom) bool { return s == spec.Crashed || s == spec.TimedOut }

// kept is impl with its instances kept, for closeAll.
func kept(impl spec.Implementation) (spec.Implementation, *[]proxy.Handler) {
	instances := new([]proxy.Handler)
	return proxy.Connect(impl, func(m *spec.Module) proxy.Handler {
		h := proxy.Local(impl, m)
		*instances = append(*instances, h)
		return h
	}), instances
}

// concurrently runs workers at once, each on a goroutine of its own, and waits for
// them. Workers assert nothing, and hand on what they panic with.
func (t *trial) concurrently(workers ...func()) {
	for _, r := range t.recordings {
		r.unfrozen = true
	}
	var wait sync.WaitGroup
	panics := make([]any, len(workers))
	for i, work := range workers {
		wait.Go(func() {
			defer func() { panics[i] = recover() }()
			work()
		})
	}
	wait.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
}

// Helper is rapid's, where the trial belongs to a property.
func (t *trial) Helper() {
	if t.T != nil {
		t.T.Helper()
	}
}

// fail ends the trial with a symptom.
func (t *trial) fail(symptom spec.Symptom, format string, args ...any) {
	t.Helper()
	message := fmt.Sprintf(format, args...)
	if t.where != "" {
		message = t.where + ": " + message
	}
	t.failure = &failure{symptom, message, t.recordings}
	if t.T == nil {
		panic(t.failure)
	}
	t.T.FailNow()
}

// as runs f with another meaning of a difference.
func (t *trial) as(symptom spec.Symptom, f func()) {
	before := t.symptom
	t.symptom = symptom
	f()
	t.symptom = before
}

// must asserts that good input was not refused.
func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.fail(spec.Rejected, "good input was refused: %v", err)
	}
}

// holds asserts a condition.
func (t *trial) holds(ok bool, format string, args ...any) {
	t.Helper()
	t.asserted++
	if !ok {
		t.fail(t.symptom, format, args...)
	}
}

// equal asserts that two values are the same, floats bit for bit but for the
// sign of zero.
func (t *trial) equal(what string, got, want any) {
	t.Helper()
	t.asserted++
	if d := differences(got, want); d != "" && !cmp.Equal(got, want) {
		t.fail(t.symptom, "%s%s", what, d)
	}
}

// sameBits asserts that two values are the same bit for bit.
func (t *trial) sameBits(what string, got, want any) {
	t.Helper()
	t.asserted++
	if d := differences(got, want); d != "" {
		t.fail(t.symptom, "%s%s", what, d)
	}
}

// within asserts |got − want| ≤ budget and notes the share of the budget that
// was used.
func (t *trial) within(what string, got, want, budget float64) {
	t.Helper()
	t.asserted++
	if got == want {
		return
	}
	off := math.Abs(got - want)
	if !(off <= budget) {
		t.fail(t.symptom, "%s: got %v, want %v\n  error %.3g is %.3g × the budget %.3g", what, got, want, off, off/budget, budget)
	}
	t.used = max(t.used, off/budget)
}

// refused asserts that bad input was refused.
func (t *trial) refused(what string, err error) {
	t.Helper()
	t.asserted++
	if err == nil {
		t.fail(spec.Accepted, "%s was accepted", what)
	}
}

// open makes an instance of the module that a constructor stands for.
func open[C, M any](t *trial, construct func(C) (M, error), config C) M {
	t.Helper()
	m, err := construct(config)
	t.must(err)
	return m
}
