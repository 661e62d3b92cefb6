package audit

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

func TestEvenness(t *testing.T) {
	for _, c := range []struct {
		load             []int64
		largest, entropy float64
	}{{[]int64{5, 5, 5, 5}, 1, 1}, {[]int64{8, 0, 0, 0}, 4, 0}, {[]int64{6, 6, 0, 0}, 2, 0.5}} {
		if largest, entropy := evenness(c.load); !near(largest, c.largest) || math.Abs(entropy-c.entropy) > 1e-12 {
			t.Errorf("%v: %v, %v", c, largest, entropy)
		}
	}
	// Of 10 places three experts have 4, 3 and 3.
	if got := roundRobin(5, 2, 3); !near(got, 1.2) || roundRobin(4, 2, 8) != 1 {
		t.Errorf("round robin %v", got)
	}
}

func TestMoments(t *testing.T) {
	x := spec.Matrix{Rows: 4, Cols: 2, Data: []float32{1, 10, 3, 10, 1, 10, 3, 10}}
	mean, deviation := moments(x)
	if !slices.Equal(mean, []float64{2, 10}) || !slices.Equal(deviation, []float64{1, 0}) {
		t.Errorf("%v, %v", mean, deviation)
	}
	if got := centred(x).Data; !slices.Equal(got, []float32{-1, 0, 1, 0, -1, 0, 1, 0}) {
		t.Errorf("%v", got)
	}
	wide := gaussian(2000, 2, 1)
	for i := range wide.Data {
		wide.Data[i] = wide.Data[i]*float32(1+i%2) + float32(3-4*(i%2))
	}
	drawn := likeMoments(wide, 1)
	mean, deviation = moments(wide)
	for i, m := range mean {
		if got, gotDeviation := moments(drawn); math.Abs(got[i]-m) > 0.15 || math.Abs(gotDeviation[i]-deviation[i]) > 0.15 || math.Abs(m-float64(3-4*i)) > 0.15 {
			t.Errorf("column %d: %v, %v; want %v, %v", i, got, gotDeviation, mean, deviation)
		}
	}
	if slices.Equal(drawn.Data, likeMoments(wide, 2).Data) {
		t.Error("the seed does not matter")
	}
}

// Two tokens of expert 0 and then 1, one of 1 and then 0, one of 2 and then 1: places
// of 3, 4 and 1, over a mean of 8/3. With a capacity of 3 one of expert 1 is dropped.
func TestBalanceOfATable(t *testing.T) {
	x := spec.Matrix{Rows: 4, Cols: 3, Data: []float32{3, 2, 1, 3, 2, 1, 2, 3, 1, 1, 2, 3}}
	gate := spec.Matrix{Rows: 3, Cols: 3, Data: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}}
	b, err := balanceOf(fast.Implementation(), gate, x, []float64{1, 1.25, 3})
	if err != nil {
		t.Fatal(err)
	}
	e := func(x float64) float64 { return math.Exp(x) / (math.Exp(1) + math.Exp(2) + math.Exp(3)) }
	loss := 3 * ((2*e(3)+e(2)+e(1))/4*0.5 + (2*e(2)+e(3)+e(2))/4*0.25 + (3*e(1)+e(3))/4*0.25)
	if !near(b.largest, 4/(8.0/3)) || math.Abs(b.loss-loss) > 1e-6 || !slices.Equal(b.dropped, []float64{1.0 / 8, 0, 0}) {
		t.Errorf("%+v, want a loss of %v", b, loss)
	}
}

// moeAudit has a layer's inputs: Gaussian rows, with an offset.
func moeAudit(t *testing.T, impl spec.Implementation, tokens int, offset float32) *Audit {
	a := traceAudit(t, impl)
	x := gaussian(tokens, 16, 1)
	for i := range x.Data {
		x.Data[i] += offset
	}
	activations := make(Activations, 1)
	activations[0][llama.FeedForwardInput] = x
	a.job = &job{a.Subject, impl, activations}
	return a
}

func TestTheBalanceVerdictIsMeasured(t *testing.T) {
	sequential(t)
	for _, c := range []struct {
		tokens int
		offset float32
		want   Verdict
	}{{60, 5, Refuted}, {60, 0, Conditional}} {
		f, again := &Finding{}, &Finding{}
		for _, f := range []*Finding{f, again} {
			if err := loadBalance(context.Background(), moeAudit(t, fast.Implementation(), c.tokens, c.offset), f); err != nil {
				t.Fatal(err)
			}
		}
		if f.Verdict != c.want || !f.Interval.Holds(*f.Figure) || len(f.Curve.Rows) != len(balanceExperts) || f.Note != again.Note {
			t.Errorf("%v: %v, %v %+v", c, f.Verdict, *f.Figure, f.Interval)
		}
		for _, row := range f.Curve.Rows {
			if len(row) != len(f.Curve.Columns) || row[6] < row[7] || row[7] < row[8] || c.offset == 5 && (row[11] >= row[1] || row[11] >= row[9]) {
				t.Errorf("%v", row)
			}
		}
	}
}

func TestBalanceVerdicts(t *testing.T) {
	for _, c := range []struct {
		high float64
		even int
		want Verdict
	}{{balanced, 1, Supported}, {1.26, 1, Conditional}, {1.26, 0, Refuted}} {
		if got := balanceVerdict(c.high, c.even); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
	if got := listed([]int{4, 8}) + " " + listed(nil); got != "4, 8 no number of" {
		t.Error(got)
	}
}

// A spoiledGate routes otherwise than its gate says.
type spoiledGate struct {
	spec.SparseMoE
	spoil func(*spec.MoERouting)
	more  int64 // load of the first expert
}

func (s spoiledGate) Stats() spec.SparseMoEStats {
	stats := s.SparseMoE.Stats()
	stats.ExpertLoad[0] += s.more
	return stats
}

func (s spoiledGate) Route(dst *spec.MoERouting, x spec.Matrix) error {
	err := s.SparseMoE.Route(dst, x)
	s.spoil(dst)
	return err
}

func TestAWrongRoutingIsNotJudged(t *testing.T) {
	for name, spoil := range map[string]func(*spec.MoERouting){
		"in turn": func(r *spec.MoERouting) {
			for i := range r.Indices {
				r.Indices[i] = int32(i % 4)
			}
		},
		"an expert twice":   func(r *spec.MoERouting) { r.Indices[1] = r.Indices[0] },
		"no expert":         func(r *spec.MoERouting) { r.Indices[0] = 99 },
		"dropped":           func(r *spec.MoERouting) { r.Indices[0] = -1 },
		"drops not counted": func(r *spec.MoERouting) { r.Dropped = 0 },
		"another load":      nil,
		"another":           func(r *spec.MoERouting) { r.Indices[0] = (6 - r.Indices[0] - r.Indices[1]) % 4 },
	} {
		impl := fast.Implementation()
		honest := impl.SparseMoE
		impl.SparseMoE = func(c spec.SparseMoEConfig) (spec.SparseMoE, error) {
			m, err := honest(c)
			if spoil == nil {
				return spoiledGate{m, func(*spec.MoERouting) {}, 1}, err
			}
			return spoiledGate{m, spoil, 0}, err
		}
		f := &Finding{}
		if err := loadBalance(context.Background(), moeAudit(t, impl, 50, 1), f); err == nil || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
			t.Errorf("%s: %v, %v", name, f.Verdict, err)
		}
	}
	// Routing in turn is caught by the gate alone, whatever it counts.
	x, gate := gaussian(80, 4, 1), gaussian(4, 4, 2)
	config := spec.SparseMoEConfig{NExperts: 4, TopK: 2}
	inTurn := make([]int32, 160)
	for i := range inTurn {
		inTurn[i] = int32(i % 4)
	}
	if err := routedByGate(config, gate, x, inTurn); err == nil {
		t.Error("experts in turn are those of the gate")
	}
	if _, _, err := loadOf(config, []int32{0, -1}, 1); err == nil {
		t.Error("a drop without a capacity")
	}
	config.CapacityFactor = 1
	if _, _, err := loadOf(config, []int32{0, 1, 0, 1, 0, 1, 2, 3}, 4); err == nil {
		t.Error("three places of a capacity of two")
	}
}
