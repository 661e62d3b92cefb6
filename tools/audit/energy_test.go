package audit

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/spec"
)

func TestMissedEnergyIsAShareOfTheModels(t *testing.T) {
	m := traceAudit(t, fast.Implementation()).Subject.Model
	half, err := m.Map(func(name string, w spec.Matrix) (spec.Matrix, error) {
		if !strings.Contains(name, m.Places()[0].Name) {
			return w, nil
		}
		out := spec.Matrix{Rows: w.Rows, Cols: w.Cols}
		for _, v := range w.Data {
			out.Data = append(out.Data, v/2)
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		places []llama.Place
		want   float64
	}{{m.Places()[:1], 0.25}, {m.Places()[1:], 0}} {
		if got, err := missedEnergy(m, half, c.places); err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d places: %v, %v, want %v", len(c.places), got, err, c.want)
		}
	}
	weights, err := matrices(m)
	if err != nil {
		t.Fatal(err)
	}
	all := 0.0
	for _, w := range weights {
		all += squares(w.Data)
	}
	if got, err := missedEnergy(m, half, nil); err != nil || math.Abs(got-squares(weights[0].Data)/4/all) > 1e-12 {
		t.Errorf("all places: %v, %v", got, err)
	}
	if got := missed([]float32{3, 4}, []float32{3, 1}); got != 9./25 {
		t.Errorf("9 of 25: %v", got)
	}
}

func TestAnUnrelatedModelHasOtherLayers(t *testing.T) {
	m := traceAudit(t, fast.Implementation()).Subject.Model
	other, err := unrelated(m)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := layersOf(m)
	got, _ := layersOf(other)
	for i := range want {
		if missed(want[(i+1)%len(want)], got[i]) != 0 {
			t.Errorf("layer %d is not the one after it", i)
		}
	}
}

func TestNoiseHasTheMatricesEnergies(t *testing.T) {
	m := traceAudit(t, fast.Implementation()).Subject.Model
	drawn, err := noise(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := matrices(m)
	got, _ := matrices(drawn)
	for i, w := range want {
		if w.Rows != w.Cols {
			if missed(w.Data, got[i].Data) != 0 {
				t.Errorf("matrix %d is not square, and changed", i)
			}
			continue
		}
		if r := squares(got[i].Data) / squares(w.Data); math.Abs(r-1) > 0.15 || missed(w.Data, got[i].Data) < 1 {
			t.Errorf("matrix %d: %v times the energy", i, r)
		}
	}
}

// energyAudit judges a fine-tune by a few paragraphs.
func energyAudit(t *testing.T, impl spec.Implementation) *Audit {
	a := traceAudit(t, impl)
	var err error
	if a.Subject.Tuned, err = tiny.Tuned(); err != nil {
		t.Fatal(err)
	}
	if a.Subject.Tokenizer, err = tiny.Vocabulary(); err != nil {
		t.Fatal(err)
	}
	a.Subject.TunedEvaluation = tiny.Variant.Paragraphs(9, 8)
	if a.tuned, err = judge(context.Background(), &Variation{Model: a.Subject.Tuned}, a.Subject.Tokenizer, a.Subject.TunedEvaluation, nil); err != nil {
		t.Fatal(err)
	}
	return a
}

// layersOnly is a model's first layers.
func layersOnly(t *testing.T, m *llama.Model, n int) *llama.Model {
	t.Helper()
	few := *m
	few.Config.Layers, few.Layers = n, m.Layers[:n]
	return &few
}

// noDelta stands for a module that loses the difference.
type noDelta struct{ spec.DeltaCompress }

func (d noDelta) Decompress(dst *spec.Matrix, u spec.Matrix, s []float32, vt spec.Matrix) error {
	err := d.DeltaCompress.Decompress(dst, u, s, vt)
	clear(dst.Data)
	return err
}

func TestDeltaEnergyNeedsTheBase(t *testing.T) {
	for _, c := range []struct {
		broken bool
		want   Verdict
	}{{false, Supported}, {true, Conditional}} {
		impl := fast.Implementation()
		if c.broken {
			impl.DeltaCompress = func(config spec.DeltaCompressConfig) (spec.DeltaCompress, error) {
				d, err := fast.NewDeltaCompress(config)
				return noDelta{d}, err
			}
		}
		f := &Finding{}
		if err := deltaEnergy(context.Background(), energyAudit(t, impl), f); err != nil {
			t.Fatal(err)
		}
		if f.Verdict != c.want || len(f.Curve.Rows) != len(deltaRanks) {
			t.Errorf("broken %v: %+v", c.broken, f)
		}
		last := f.Curve.Rows[len(deltaRanks)-1]
		if whole := last[2] > 99.99 && last[6] > 99.99; whole == c.broken {
			t.Errorf("broken %v, full rank: %v", c.broken, last)
		}
	}
	for _, c := range []struct {
		own, unrelated float64
		want           Verdict
	}{{0.01, 5, Supported}, {1, 5, Conditional}, {1, 1, Refuted}, {0, 0.01, Refuted}} {
		own, unrelated := &Difference{Interval: Interval{Low: c.own, High: c.own}}, &Difference{Interval: Interval{Low: c.unrelated, High: c.unrelated}}
		if got := rebuilt(own, unrelated); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	same := energyAudit(t, fast.Implementation())
	same.Subject.Tuned = same.Subject.Model
	one := energyAudit(t, fast.Implementation())
	one.Subject.Model = layersOnly(t, one.Subject.Model, 1)
	one.Subject.Tuned = layersOnly(t, one.Subject.Tuned, 1)
	for _, a := range []*Audit{same, one} {
		f := &Finding{}
		if err := deltaEnergy(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
			t.Errorf("%+v, %v", f, err)
		}
	}
	f := &Finding{}
	if err := sharingEnergy(context.Background(), one, f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("one layer: %+v, %v", f, err)
	}
	f = &Finding{}
	if err := deltaEnergy(context.Background(), traceAudit(t, fast.Implementation()), f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("without a fine-tune: %+v, %v", f, err)
	}
}

// blind finds nothing alike.
type blind struct{ spec.LayerFusion }

func (blind) CosineSimilarity(dst *float64, _, _ []float32) error { *dst = 0; return nil }

func TestFusionEnergyFindsAlikeLayers(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	layers, err := layersOf(a.Subject.Model)
	if err != nil {
		t.Fatal(err)
	}
	size := len(layers[0]) // of a layer
	judged := func(m *llama.Model) *Finding {
		a := traceAudit(t, fast.Implementation())
		a.Subject.Model = m
		f := &Finding{}
		if err := fusionEnergy(context.Background(), a, f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := judged(a.Subject.Model); f.Verdict != Refuted || f.Curve.Rows[0][5] != float64(2*size) || math.Abs(f.Curve.Rows[2][2]-1/math.Sqrt(1.01)) > 1e-3 {
		t.Errorf("%+v", f)
	}
	// All layers the first, and then one another.
	for _, c := range []struct {
		same int
		want Verdict
	}{{3, Supported}, {2, Conditional}} {
		weights, _ := matrices(a.Subject.Model)
		i := 0
		m, err := a.Subject.Model.Map(func(string, spec.Matrix) (spec.Matrix, error) {
			i++
			if (i-1)/7 < c.same {
				return weights[(i-1)%7], nil
			}
			return weights[i-1], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if f := judged(m); f.Verdict != c.want || *f.Figure < 0.9999 || f.Curve.Rows[0][3] > 1e-9 {
			t.Errorf("%d layers are one: %+v", c.same, f)
		}
	}
	a.Implementation.LayerFusion = func(c spec.LayerFusionConfig) (spec.LayerFusion, error) {
		l, err := fast.NewLayerFusion(c)
		return blind{l}, err
	}
	if err := fusionEnergy(context.Background(), a, &Finding{}); err == nil || !strings.Contains(err.Error(), "cannot be trusted") {
		t.Error(err)
	}
}

func TestSharingEnergyIsThatOfOneCopy(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	f := &Finding{}
	if err := sharingEnergy(context.Background(), a, f); err != nil {
		t.Fatal(err)
	}
	if f.Verdict != Refuted || math.Abs(f.Curve.Rows[0][1]-1./3) > 1e-9 || math.Abs(f.Curve.Rows[0][3]-100./3) > 3 {
		t.Errorf("%+v", f)
	}
	weights, _ := matrices(a.Subject.Model)
	i := 0
	same, err := a.Subject.Model.Map(func(string, spec.Matrix) (spec.Matrix, error) {
		i++
		return weights[(i-1)%7], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Subject.Model = same
	if err := sharingEnergy(context.Background(), a, f); err != nil || f.Verdict != Supported || *f.Figure < 99.99 {
		t.Errorf("layers that are one: %+v, %v", f, err)
	}
}
