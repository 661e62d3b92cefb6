package audit

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// No time is asserted: the verdict is of times that are given.
func TestTheRoutingVerdictFollowsTheTimes(t *testing.T) {
	for _, c := range []struct {
		fast, slow float64
		want       Verdict
		note       string
	}{{5, 99, Supported, "all sizes"}, {100, 5000, Refuted, "no size"}, {5, 100, Conditional, "not of 32×8×256, "}} {
		sizes := routingSizes()
		for i := range sizes {
			median := c.fast
			if sizes[i].mulAdds() > 33_000 {
				median = c.slow
			}
			sizes[i].times = []float64{1, median, 1e6}
		}
		f := &Finding{}
		routingVerdict(f, sizes)
		if f.Verdict != c.want || *f.Figure != c.fast || !strings.Contains(f.Note, c.note) || len(f.Curve.Rows) != len(sizes) {
			t.Errorf("%v: %+v", c, f)
		}
	}
	sizes := routingSizes()
	if last := sizes[len(sizes)-1]; last.String() != "512×256×7168" || sizes[0].String() != "32×4×256" {
		t.Errorf("%v", sizes)
	}
}

// Moving tokens has columns where an implementation does it, and no part in the
// verdict.
func TestDispatchHasColumns(t *testing.T) {
	config := spec.SparseMoEConfig{NExperts: 3, TopK: 2, HiddenDim: 4}
	moe, err := fast.Implementation().SparseMoE(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, offered := range []bool{true, false} {
		r := routed{tokens: 5, experts: 3, dim: 4}
		if !offered {
			moe = gateAlone{moe}
		}
		if err := r.time(context.Background(), moe, gaussian(5, 4, 1)); err != nil {
			t.Fatal(err)
		}
		if len(r.times) != routings || (len(r.dispatch) == routings) != offered || (len(r.combine) == routings) != offered || !slices.IsSorted(r.times) {
			t.Errorf("%+v", r)
		}
	}
	r := routed{tokens: 5, experts: 3, dim: 4}
	if err := r.time(context.Background(), remoteGate{moe}, gaussian(5, 4, 1)); err != nil || r.dispatch != nil || r.times == nil {
		t.Errorf("%v, %+v", err, r)
	}
	f := &Finding{}
	routingVerdict(f, []routed{{tokens: 5, experts: 3, dim: 4, times: []float64{1, 2, 3}, dispatch: []float64{400, 500, 600}, combine: []float64{700, 800, 900}}})
	if f.Verdict != Supported || *f.Figure != 2 || !slices.Equal(f.Curve.Rows[0][6:], []float64{0.4, 500, 800}) || len(f.Curve.Columns) != 9 {
		t.Errorf("%+v, %v", f, f.Curve)
	}
}

// A gateAlone moves no tokens; a remoteGate says so when it is asked to.
type gateAlone struct{ spec.SparseMoE }

type remoteGate struct{ spec.SparseMoE }

func (remoteGate) Dispatch(*spec.MoEDispatch, spec.Matrix, []int32) error {
	return spec.Unsupported
}

func (remoteGate) Combine(*spec.Matrix, spec.Matrix, []int32, spec.Matrix) error {
	return spec.Unsupported
}

// Tables of the sign test say which ranks hold a median with 95%: of 15 the fourth
// from either end, of 20 the sixth, and of 5 not even the outermost.
func TestAroundMedian(t *testing.T) {
	for n, rank := range map[int]int{5: 1, 6: 1, 9: 2, 13: 3, 15: 4, 20: 6, 25: 8} {
		ascending := make([]float64, n)
		for i := range ascending {
			ascending[i] = float64(i + 1)
		}
		if got := aroundMedian(ascending); got.Low != float64(rank) || got.High != float64(n+1-rank) {
			t.Errorf("of %d: %v…%v, want rank %d", n, got.Low, got.High, rank)
		}
	}
	if !slices.Contains(IDs(), "expert-routing-overhead") {
		t.Error("it is not judged")
	}
}
