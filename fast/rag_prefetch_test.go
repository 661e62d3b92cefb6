package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestRAGPrefetchAllocatesNothingForDocumentsTracked(t *testing.T) {
	for _, window := range []int{0, 8} {
		p, err := NewRAGPrefetch(spec.RAGPrefetchConfig{MaxDocs: 8, TopK: 4, RecencyDecay: 0.9, MinAccesses: 1, Window: window})
		if err != nil {
			t.Fatal(err)
		}
		docs := [][]int64{{1}, {2, 3}, {4}, {5}}
		var digest string
		var candidates []string
		round := func() {
			for _, doc := range docs {
				if err := p.RecordAccess(&digest, doc); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.GetWarmupCandidates(&candidates); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			round()
		}
		if n := testing.AllocsPerRun(20, round); n != 0 {
			t.Errorf("window %d: %v allocations a round", window, n)
		}
	}
}

// TestRAGPrefetchHashesLongDocuments: longer than the buffer, and just as long.
func TestRAGPrefetchHashesLongDocuments(t *testing.T) {
	// SHA-256 of 512 and of 513 zero ids: 4096 and 4104 zero bytes.
	for n, want := range map[int]string{
		512: "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7",
		513: "4f2cfec1c5dc3827cdeb42906713b37cae91e009aa0e2d211c376ccb9969b3ea",
	} {
		p, err := NewRAGPrefetch(spec.DefaultRAGPrefetchConfig())
		if err != nil {
			t.Fatal(err)
		}
		var digest string
		if err := p.RecordAccess(&digest, make([]int64, n)); err != nil || digest != want {
			t.Errorf("%d ids: got %s (%v), want %s", n, digest, err, want)
		}
	}
}
