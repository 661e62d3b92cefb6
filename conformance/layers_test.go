package conformance

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// breach returns the symptom with which a call on a layer over h ends, "" where
// it is left alone.
func breach(layer proxy.Layer, h proxy.Handler, calls ...*proxy.Call) (symptom spec.Symptom) {
	defer func() {
		if b, ok := recover().(*proxy.Breach); ok {
			symptom = b.Symptom
		}
	}()
	layered := layer(h)
	for _, c := range calls {
		layered(c)
	}
	return ""
}

func dequantizeCall(codes []int8) *proxy.Call {
	return &proxy.Call{Module: ternaryQuant, Op: ternaryQuant.Operation("dequantize"), Args: []any{codes, float32(1)}, Dst: new([]float32)}
}

func TestGuardSeesWritesToAndAroundArguments(t *testing.T) {
	for name, write := range map[string]func(codes []int8){
		"to an element":  func(codes []int8) { codes[1] = 7 },
		"past the end":   func(codes []int8) { _ = append(codes, 7) },
		"far behind it":  func(codes []int8) { codes[:cap(codes)][cap(codes)-1] = 7 },
		"nowhere at all": func([]int8) {},
	} {
		got := breach(guard(func() {}), func(c *proxy.Call) error {
			write(c.Args[0].([]int8))
			return nil
		}, dequantizeCall([]int8{1, 0, -1}))
		if want := map[bool]spec.Symptom{true: "", false: spec.ChangedInput}[name == "nowhere at all"]; got != want {
			t.Errorf("a write %s: got %q, want %q", name, got, want)
		}
	}
}

func TestGuardHandsOutUsedDestinations(t *testing.T) {
	var length, capacity int
	breach(guard(func() {}), func(c *proxy.Call) error {
		dst := *c.Dst.(*[]float32)
		length, capacity = len(dst), cap(dst)
		return nil
	}, dequantizeCall([]int8{1}))
	if length == 0 || capacity <= length {
		t.Errorf("got a destination of length %d and capacity %d, want used memory with room", length, capacity)
	}
}

func TestDisownSeesSharedMemory(t *testing.T) {
	var kept []float32
	for name, h := range map[string]proxy.Handler{
		"with an earlier result": func(c *proxy.Call) error {
			kept = spec.Resize(kept, 3)
			*c.Dst.(*[]float32) = kept
			return nil
		},
		"with an argument": func(c *proxy.Call) error {
			reflect.ValueOf(c.Dst).Elem().Set(reflect.ValueOf(c.Args[0]))
			return nil
		},
	} {
		dequantize := func() *proxy.Call { return dequantizeCall([]int8{1, 0, -1}) }
		if name == "with an argument" {
			dequantize = func() *proxy.Call {
				c := dequantizeCall(nil)
				c.Args[0], c.Dst = []float32{1, 2}, new([]float32)
				return c
			}
		}
		if got := breach(disown(func() {}), h, dequantize(), dequantize()); got != spec.Aliased {
			t.Errorf("memory shared %s: got %q", name, got)
		}
	}
	if got := breach(disown(func() {}), proxy.Local(ref.Implementation(), ternaryQuant),
		&proxy.Call{Module: ternaryQuant, Op: proxy.New, Args: []any{spec.DefaultTernaryQuantConfig()}},
		dequantizeCall([]int8{1, 0, -1}), dequantizeCall([]int8{1, 0, -1})); got != "" {
		t.Errorf("ref: got %q", got)
	}
}

func TestContainTurnsPanicsAndHangsIntoBreaches(t *testing.T) {
	never := make(chan struct{})
	for want, h := range map[spec.Symptom]proxy.Handler{
		spec.Panicked: func(*proxy.Call) error { panic("no") },
		spec.TimedOut: func(*proxy.Call) error { <-never; return nil },
		spec.Aliased:  func(*proxy.Call) error { panic(&proxy.Breach{Symptom: spec.Aliased}) },
		"":            func(*proxy.Call) error { return errors.New("an error is an error") },
	} {
		if got := breach(contain(10*time.Millisecond), h, dequantizeCall(nil)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDifferencesComparesBits(t *testing.T) {
	negativeZero := float32(math.Copysign(0, -1))
	for _, test := range []struct {
		a, b any
		same bool
	}{
		{[]float32{quietNaN}, []float32{quietNaN}, true},
		{[]float32{quietNaN}, []float32{signallingNaN}, false},
		{[]float32{0}, []float32{negativeZero}, false},
		{[]float32(nil), []float32{}, true},
		{[]any{[]int8{1}}, []any{[]int8{2}}, false},
		{spec.Matrix{Rows: 1, Cols: 1, Data: []float32{1}}, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{1}}, true},
		{spec.Matrix{Rows: 1, Cols: 1, Data: []float32{1}}, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{2}}, false},
		{1, 2, false},
		{1, "1", false},
	} {
		if d := differences(test.a, test.b); (d == "") != test.same {
			t.Errorf("%v and %v: got %q", test.a, test.b, d)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	original := []any{spec.KVLookup{Hit: true, Key: spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1, 2}}}, []spec.Heads{{Data: []float32{3}}}}
	copied := clone(original)
	if d := differences(copied, original); d != "" {
		t.Error(d)
	}
	if path, shared := overlap(copied, original); shared {
		t.Errorf("shares %s", path)
	}
}

func TestStylesReachTheEdges(t *testing.T) {
	var subnormal, negativeZero, huge, equal bool
	only(t, "ternary-quant/alphabet", after("quantize", func(c *proxy.Call) {
		weights := c.Args[0].([]float32)
		for i, w := range weights {
			a := math.Abs(float64(w))
			subnormal = subnormal || a > 0 && a < 0x1p-126
			negativeZero = negativeZero || w == 0 && math.Signbit(float64(w))
			huge = huge || a > 1e36
			equal = equal || i > 0 && w == weights[i-1] && w != 0
		}
	}), Checks(200))
	if !subnormal || !negativeZero || !huge || !equal {
		t.Errorf("200 draws of weights: subnormal %v, −0 %v, huge %v, equal %v; want all of them", subnormal, negativeZero, huge, equal)
	}
}
