package proxy

import (
	"errors"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// half is a TernaryQuant without the optional operations.
type half struct{ closed *bool }

func (half) Quantize(dst *spec.TernaryWeights, weights []float32) error {
	dst.Scale = weights[0] / 2
	return nil
}
func (half) Dequantize(*[]float32, []int8, float32) error {
	return spec.Reject(spec.Invalid, "half", "ternary", "anything", "this")
}
func (half) Stats() spec.TernaryQuantStats { return spec.TernaryQuantStats{Calls: 7} }
func (h half) Close() error                { *h.closed = true; return nil }

func implementation(closed *bool) spec.Implementation {
	return spec.Implementation{Name: "half", TernaryQuant: func(spec.TernaryQuantConfig) (spec.TernaryQuant, error) { return half{closed}, nil }}
}

func TestCallsReachTheImplementationThroughTheLayers(t *testing.T) {
	var seen []string
	note := func(name string) Layer {
		return func(next Handler) Handler {
			return func(c *Call) error {
				seen = append(seen, name+" "+c.Op.Name)
				return next(c)
			}
		}
	}
	q, err := Wrap(implementation(new(bool)), note("outer"), note("inner")).TernaryQuant(spec.DefaultTernaryQuantConfig())
	if err != nil {
		t.Fatal(err)
	}
	var out spec.TernaryWeights
	if err := q.Quantize(&out, []float32{3}); err != nil || out.Scale != 1.5 {
		t.Errorf("got %v, %v", out, err)
	}
	if err := q.Dequantize(nil, nil, 0); !errors.Is(err, spec.Invalid) {
		t.Errorf("got %v, want the implementation's error", err)
	}
	if s := q.Stats(); s.Calls != 7 {
		t.Errorf("got %v, want the implementation's stats", s)
	}
	want := []string{"outer new", "inner new", "outer quantize", "inner quantize", "outer dequantize", "inner dequantize", "outer stats", "inner stats"}
	if len(seen) != len(want) {
		t.Fatalf("got %q, want %q", seen, want)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("call %d: got %q, want %q", i, seen[i], want[i])
		}
	}
}

func TestEveryInstanceHasItsOwnLayers(t *testing.T) {
	instances := 0
	impl := Wrap(implementation(new(bool)), func(next Handler) Handler {
		instances++
		return next
	})
	for range 3 {
		if _, err := impl.TernaryQuant(spec.DefaultTernaryQuantConfig()); err != nil {
			t.Fatal(err)
		}
	}
	if instances != 3 {
		t.Errorf("got %d layers for 3 instances", instances)
	}
}

func TestMissingOperationIsUnsupported(t *testing.T) {
	q, _ := Wrap(implementation(new(bool))).TernaryQuant(spec.DefaultTernaryQuantConfig())
	if err := q.(spec.TernaryBase3).PackBase3(new([]uint8), []int8{1}); !errors.Is(err, spec.Unsupported) {
		t.Errorf("got %v", err)
	}
	m := spec.ModuleByName("ternary-quant")
	foreign := spec.ModuleByName("hierarchical-kv").Operation("put")
	if err := Local(implementation(new(bool)), m)(&Call{Module: m, Op: foreign}); !errors.Is(err, spec.Unsupported) {
		t.Errorf("an operation of another module: got %v", err)
	}
}

func TestConstructorWithoutInstanceIsRefused(t *testing.T) {
	impl := implementation(new(bool))
	impl.TernaryQuant = func(spec.TernaryQuantConfig) (spec.TernaryQuant, error) { return nil, nil }
	if _, err := Wrap(impl).TernaryQuant(spec.DefaultTernaryQuantConfig()); !errors.Is(err, spec.Unsupported) {
		t.Errorf("got %v", err)
	}
}

func TestRefusedQueryIsABreach(t *testing.T) {
	refuse := func(next Handler) Handler {
		return func(c *Call) error {
			if c.Op.Name == "stats" {
				return spec.Reject(spec.State, "half", "stats", "an answer", "none")
			}
			return next(c)
		}
	}
	q, _ := Wrap(implementation(new(bool)), refuse).TernaryQuant(spec.DefaultTernaryQuantConfig())
	defer func() {
		if b, ok := recover().(*Breach); !ok || b.Symptom != spec.Rejected {
			t.Errorf("got %v, want a breach", b)
		}
	}()
	q.Stats()
}

func TestCloseReachesTheInstance(t *testing.T) {
	var closed bool
	impl := implementation(&closed)
	m := spec.ModuleByName("ternary-quant")
	for name, h := range map[string]Handler{"at once": Local(impl, m), "through proxies": Local(Wrap(Wrap(impl)), m)} {
		closed = false
		h(&Call{Module: m, Op: New, Args: []any{spec.DefaultTernaryQuantConfig()}})
		if h(&Call{Op: Close}); !closed {
			t.Errorf("%s: the instance was not closed", name)
		}
	}
}

func TestWhatIsNotThereStaysAway(t *testing.T) {
	wrapped := Wrap(implementation(new(bool)))
	for _, m := range spec.Modules() {
		if got, want := wrapped.Has(m), m.Name == "ternary-quant"; got != want {
			t.Errorf("%s: got %v, want %v", m.Name, got, want)
		}
	}
}
