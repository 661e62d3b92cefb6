package llama

import (
	"errors"
	"slices"
	"testing"
)

// A tap sees the very rows that a matrix multiplies: their products are what the
// session went on with.
func TestTapsSeeWhatMatricesMultiply(t *testing.T) {
	m := tiny(t, tinyConfigs["llama2.c"])
	places := m.Places()
	if want := 7 * m.Config.Layers; len(places) != want {
		t.Fatalf("%d places, want %d", len(places), want)
	}
	s, err := NewSession[float64](m)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[[2]int]int{}
	s.Tap = func(layer int, at Input, x []float64) {
		for _, p := range places {
			if p.Layer == layer && p.Input == at {
				if len(x)%p.Cols != 0 {
					t.Errorf("%s: %d elements, want rows of %d", p.Name, len(x), p.Cols)
				}
				rows[[2]int{layer, int(at)}] = len(x) / p.Cols
			}
		}
		if at == HiddenOutput {
			clear(x)
		}
	}
	if err := s.Extend(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	if len(rows) != int(Inputs)*m.Config.Layers {
		t.Errorf("%d inputs were seen, want %d", len(rows), int(Inputs)*m.Config.Layers)
	}
	for at, n := range rows {
		if n != 3 {
			t.Errorf("input %v: %d rows, want 3", at, n)
		}
	}

	// What a tap clears is gone: as if w2 were 0.
	for i := range m.Layers {
		clear(m.Layers[i].Down.full)
	}
	plain, err := NewSession[float64](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Extend(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	got, _ := s.Logits(nil, 2)
	want, _ := plain.Logits(nil, 2)
	if !slices.Equal(got, want) {
		t.Errorf("logits %v, want %v", got, want)
	}
}

// The model's own attention through the hook changes nothing, and an error of the
// hook leaves the session as it was.
func TestAttendIsCalledForEveryTokenAndLayer(t *testing.T) {
	m := tiny(t, tinyConfigs["llama2.c"])
	plain, _ := NewSession[float32](m)
	hooked, _ := NewSession[float32](m)
	calls, failing := 0, false
	hooked.Attend = func(layer int, dst, q, keys, values []float32) error {
		calls++
		if failing && layer == m.Config.Layers-1 {
			return errors.New("no")
		}
		hooked.attend(dst, q, &sessionLayer[float32]{keys: keys, values: values}, len(keys)/(m.Config.KVHeads*m.Config.HeadDim))
		return nil
	}
	for _, s := range []*Session[float32]{plain, hooked} {
		if err := s.Extend(1, 2, 3); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3*m.Config.Layers {
		t.Errorf("%d calls, want %d", calls, 3*m.Config.Layers)
	}
	failing = true
	if err := hooked.Extend(4, 5); err == nil || hooked.Len() != 3 {
		t.Errorf("error %v, %d tokens, want an error and 3", err, hooked.Len())
	}
	failing = false
	for _, s := range []*Session[float32]{plain, hooked} {
		if err := s.Extend(6); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := hooked.Logits(nil, 3)
	want, _ := plain.Logits(nil, 3)
	if !slices.Equal(got, want) {
		t.Errorf("logits %v, want %v", got, want)
	}
}
