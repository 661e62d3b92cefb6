package conformance

import (
	"bytes"
	"testing"
)

// TestFrozenVectorsDependOnTheSeedOnly: a check that draws in the order of a map
// fails differently on every run, and cannot be replayed by its seed.
func TestFrozenVectorsDependOnTheSeedOnly(t *testing.T) {
	first, err := Freeze(7)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Freeze(7)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != len(again) {
		t.Fatalf("%d vectors, then %d", len(first), len(again))
	}
	for i := range first {
		if first[i].Path != again[i].Path || !bytes.Equal(first[i].Data, again[i].Data) {
			t.Errorf("%s, then another %s", first[i].Path, again[i].Path)
		}
	}
}
