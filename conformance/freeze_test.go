package conformance

import (
	"bytes"
	"testing"
)

// TestFrozenVectorsDependOnTheSeedOnly: a check that draws in the order of a map
// fails differently on every run, and cannot be replayed by its seed.
func TestFrozenVectorsDependOnTheSeedOnly(t *testing.T) {
	frozen := func() (all []Frozen) {
		if err := Freeze(7, GoldenBudget, nil, func(v Frozen) error { all = append(all, v); return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	first, again := frozen(), frozen()
	if len(first) != len(again) {
		t.Fatalf("%d vectors, then %d", len(first), len(again))
	}
	for i := range first {
		if first[i].Path != again[i].Path || !bytes.Equal(first[i].Data, again[i].Data) {
			t.Errorf("%s, then another %s", first[i].Path, again[i].Path)
		}
	}
}
