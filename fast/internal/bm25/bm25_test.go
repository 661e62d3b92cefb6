package bm25_test

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/fast/internal/bm25"
)

// The weights were computed apart from this package, from the formula, for a
// corpus of three documents of 4, 2 and 6 terms.
func TestBM25WorkedExample(t *testing.T) {
	for _, c := range []struct {
		df, tf, dl int
		want       float64
	}{
		{3, 1, 4, 0.13353139262452257},
		{3, 1, 2, 0.16786803644225695},
		{3, 1, 6, 0.11085625048073573},
		{1, 2, 4, 1.3486402228911236},
		{1, 1, 2, 1.233042489500456},
		{1, 5, 6, 1.6224243282900737},
	} {
		got := bm25.Weight(bm25.IDF(3, c.df), float64(c.tf), bm25.Norm(c.dl, 4))
		if math.Abs(got-c.want) > 1e-14 {
			t.Errorf("df %d, tf %d, dl %d: %v, want %v", c.df, c.tf, c.dl, got, c.want)
		}
	}
}
