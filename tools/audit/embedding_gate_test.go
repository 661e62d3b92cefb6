package audit

import (
	"context"
	"image"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// The letters a, b and c are three tokens, of which halves have two and one.
func TestTokenHalvesShareNoToken(t *testing.T) {
	halves := tokenHalves(lettersSubject(t), []string{"abba", "ccab"}, rand.New(rand.NewPCG(1, 1)))
	all := slices.Concat(halves[0].texts.Data, halves[1].texts.Data)
	slices.Sort(all)
	if !slices.Equal(all, []float32{0, 1, 2}) || halves[0].texts.Rows != 2 || halves[1].texts.Rows != 1 || halves[1].texts.Cols != 1 {
		t.Errorf("%+v", halves)
	}
	if !slices.Equal(halves[0].textGroup, []int{0, 1}) || !slices.Equal(halves[1].textGroup, []int{0}) {
		t.Errorf("%+v", halves)
	}
}

// A picture of 33×16 pixels, each its column, has a group in two places.
func TestPatchesAreOfOneGroup(t *testing.T) {
	p := image.NewGray(image.Rect(0, 0, 33, 16))
	for i := range p.Pix {
		p.Pix[i] = uint8(i % 33)
	}
	p.Pix[8*33+8] = 255
	var m gateHalf
	m.addPatches([]*image.Gray{p, p}, rand.New(rand.NewPCG(1, 1)))
	if m.images.Rows != gateGroups*8 || m.images.Cols != 64 || len(m.images.Data) != m.images.Rows*64 {
		t.Fatalf("%d×%d", m.images.Rows, m.images.Cols)
	}
	lefts := map[float32]bool{}
	for n := range m.images.Rows {
		row, first := m.images.Row(n), m.images.Row(n/8*8)
		lefts[first[0]*255] = true
		if m.imageGroup[n] != n/8 {
			t.Errorf("patch %d is of group %d", n, m.imageGroup[n])
		}
		for i, v := range row {
			x := first[0]*255 + float32(n%4*8+i%8)
			y := n/4%2*8 + i/8
			if want := x / 255; x == 8 && y == 8 {
				if v != 1 {
					t.Errorf("patch %d, pixel %d: %v, want 1", n, i, v)
				}
			} else if math.Abs(float64(v-want)) > 1e-6 {
				t.Fatalf("patch %d, pixel %d: %v, want %v", n, i, v, want)
			}
		}
	}
	if len(lefts) != 2 || !lefts[0] || !lefts[1] {
		t.Errorf("groups are at %v", lefts)
	}
}

func TestSeparator(t *testing.T) {
	m := gateHalf{
		images: spec.Matrix{Rows: 2, Cols: 2, Data: []float32{1, 2, 3, 6}},
		texts:  spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1, -1}},
	}
	if got := m.separator(); !slices.Equal(got, []float32{1, 5}) {
		t.Errorf("%v, want 1 5", got)
	}
	if got := darker(m.images, 1); !slices.Equal(got.Data, []float32{0, 1, 2, 5}) || m.images.Data[0] != 1 {
		t.Errorf("%v of %v", got, m.images)
	}
}

func TestRotation(t *testing.T) {
	axes := rotation(9, 1)
	for i, a := range axes {
		for k, b := range axes {
			dot, want := 0.0, 0.0
			for n := range a {
				dot += a[n] * b[n]
			}
			if i == k {
				want = 1
			}
			if math.Abs(dot-want) > 1e-12 {
				t.Errorf("axes %d and %d: %v", i, k, dot)
			}
		}
	}
	got := rotated(spec.Matrix{Rows: 2, Cols: 2, Data: []float32{3, 4, 1, 0}}, [][]float64{{0.6, 0.8}, {-0.8, 0.6}})
	for i, want := range []float32{5, 0, 0.6, -0.8} {
		if math.Abs(float64(got.Data[i]-want)) > 1e-6 {
			t.Errorf("%v", got.Data)
		}
	}
}

func TestGateThresholdsAreTheVariants(t *testing.T) {
	for _, dots := range []bool{false, true} {
		list := gateThresholds(dots)
		c := spec.DefaultEmbeddingGateConfig()
		if dots {
			c.Variant = spec.Squish6
		}
		for i, v := range list {
			if err := c.CheckThreshold("threshold", v); err != nil || i > 0 && v <= list[i-1] {
				t.Fatalf("%v: %v", v, err)
			}
		}
	}
}

// Of three images and two texts there are six pairs.
func TestRanked(t *testing.T) {
	m := gateHalf{imageGroup: []int{0, 1, 2}, textGroup: []int{0, 1}}
	for _, c := range []struct {
		images, texts []int
		want          float64
	}{{[]int{5, 6, 7}, []int{1, 2}, 1}, {[]int{0, 0, 0}, []int{1, 2}, 0}, {[]int{1, 2, 3}, []int{2, 2}, 0.5}, {[]int{3, 1, 1}, []int{1, 2}, (2 + 1) / 6.}} {
		got, interval := m.ranked(c.images, c.texts, 1)
		if math.Abs(got-c.want) > 1e-12 || interval.Low > got || interval.High < got {
			t.Errorf("%v against %v: %v (%v), want %v", c.images, c.texts, got, interval, c.want)
		}
	}
}

// Of two ranks that each half of the groups has, the interval holds what they make of it.
func TestRankedHasAnInterval(t *testing.T) {
	var m gateHalf
	var images, texts []int
	for g := range gateGroups {
		m.imageGroup, m.textGroup = append(m.imageGroup, g), append(m.textGroup, g)
		images, texts = append(images, g%2), append(texts, g/2%2)
	}
	area, i := m.ranked(images, texts, 1)
	if area != 0.5 || i.Low < 0.3 || i.Low > 0.45 || i.High > 0.7 || i.High < 0.55 {
		t.Errorf("%v, %v", area, i)
	}
}

// gateAudit has the embedded model, its tokens and a text.
func gateAudit(t *testing.T, impl spec.Implementation) *Audit {
	a := chunkAudit(t, impl)
	for _, s := range drawnSources(1)[:2] {
		a.Subject.Evaluation = append(a.Subject.Evaluation, s.paragraphs[:100]...)
	}
	return a
}

func TestGateRoutingOfDrawnPictures(t *testing.T) {
	sequential(t)
	f, again := &Finding{}, &Finding{}
	for _, f := range []*Finding{f, again} {
		if err := gateRouting(context.Background(), gateAudit(t, fast.Implementation()), f); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(f, again) {
		t.Error("two runs of one seed differ")
	}
	if f.Verdict != Conditional || f.Interval == nil || !f.Interval.Holds(*f.Figure) || len(f.Curve.Rows) != 3*2*2*4 {
		t.Errorf("%+v", f)
	}
	for i, row := range f.Curve.Rows {
		if len(row) != len(f.Curve.Columns) {
			t.Fatalf("%v", row)
		}
		if last := f.Curve.Rows[max(0, i-1)]; i%4 > 0 && (row[4] > last[4] || row[5] > last[5]) {
			t.Errorf("a higher threshold routes more: %v after %v", row, last)
		}
		if other := row[0] == 1; other && row[2] == 0 && (row[1] == 0 && row[6] > 0.6 || row[1] == 1 && row[6] < 0.9) {
			t.Errorf("%v", row)
		}
		if dots := row[2] == 1 && row[0] == 0 && row[1] == 1; dots && row[6] < 0.999 { // of long vectors
			t.Errorf("%v", row)
		}
		if dark := row[0] == 2 && row[2] == 0 && row[1] == 1; dark && row[6] > 0.6 {
			t.Errorf("%v", row)
		}
	}
}

// gateSeen hands on what is gated.
type gateSeen struct {
	spec.EmbeddingGate
	see func(spec.Matrix)
}

func (g gateSeen) SetWeights(w []float32) error {
	return g.EmbeddingGate.(spec.EmbeddingGateWeights).SetWeights(w)
}

func (g gateSeen) Gate(dst *spec.GatedEmbeddings, x spec.Matrix) error {
	g.see(x)
	return g.EmbeddingGate.Gate(dst, x)
}

// What trains does not judge: of two pictures one is gated, and of tokens the half that
// is not the first.
func TestWhatTrainsTheGateDoesNotJudge(t *testing.T) {
	sequential(t)
	var trained, judged int // patches of either picture
	texts := map[int]bool{}
	a := gateAudit(t, gating(func(m spec.EmbeddingGate) spec.EmbeddingGate {
		return gateSeen{m, func(x spec.Matrix) {
			if x.Rows < gateGroups*8 {
				texts[x.Rows] = true
				return
			}
			for _, v := range x.Data {
				switch {
				case math.Abs(float64(v)-200/255.) < 1e-6:
					trained++
				case math.Abs(float64(v)-100/255.) < 1e-6:
					judged++
				}
			}
		}}
	}, spec.Documented))
	a.Data = t.TempDir()
	for i, grey := range []uint8{200, 100} {
		p := image.NewGray(image.Rect(0, 0, 64, 64))
		copy(p.Pix, slices.Repeat([]uint8{grey}, len(p.Pix)))
		spoil(t, a.Data, dataImages[i], string(encoded(t, p)))
	}
	f := &Finding{}
	if err := gateRouting(context.Background(), a, f); err != nil {
		t.Fatal(err)
	}
	halves := tokenHalves(a.Subject, a.Subject.Evaluation, rand.New(rand.NewPCG(1, 1)))
	if trained > 0 || judged == 0 || len(texts) != 1 || !texts[halves[1].texts.Rows] || halves[0].texts.Rows == halves[1].texts.Rows {
		t.Errorf("%d pixels of the picture that trains, %d of the other, texts %v", trained, judged, texts)
	}
}

// gateOtherwise is a module that forgets weights, or changes routes.
type gateOtherwise struct {
	spec.EmbeddingGate
	change func([]int32) []int32
}

func (g gateOtherwise) SetWeights([]float32) error { return nil }

func (g gateOtherwise) Gate(dst *spec.GatedEmbeddings, x spec.Matrix) error {
	err := g.EmbeddingGate.Gate(dst, x)
	dst.Route = g.change(dst.Route)
	return err
}

// unsetGate is a module without weights that can be set.
type unsetGate struct{ spec.EmbeddingGate }

func gating(wrap func(spec.EmbeddingGate) spec.EmbeddingGate, variants ...spec.Variant) spec.Implementation {
	impl := fast.Implementation()
	honest := impl.EmbeddingGate
	impl.EmbeddingGate = func(c spec.EmbeddingGateConfig) (spec.EmbeddingGate, error) {
		if !slices.Contains(variants, c.Variant) {
			return nil, spec.Reject(spec.Unsupported, "embedding-gate", "variant", "another", c.Variant)
		}
		m, err := honest(c)
		if err != nil {
			return nil, err
		}
		return wrap(m), nil
	}
	return impl
}

func TestTheRoutingVerdictIsMeasured(t *testing.T) {
	sequential(t)
	same := func(r []int32) []int32 { return r }
	for _, c := range []struct {
		name string
		wrap func(spec.EmbeddingGate) spec.EmbeddingGate
		want Verdict
		rows int
	}{
		{"without squish6", func(m spec.EmbeddingGate) spec.EmbeddingGate { return m }, Conditional, 24},
		{"weights forgotten", func(m spec.EmbeddingGate) spec.EmbeddingGate { return gateOtherwise{m, same} }, Refuted, 24},
		{"all to text", func(m spec.EmbeddingGate) spec.EmbeddingGate {
			return gateOtherwise{m, func(r []int32) []int32 { clear(r); return r }}
		}, Refuted, 24},
		{"no weights", func(m spec.EmbeddingGate) spec.EmbeddingGate { return unsetGate{m} }, Unmeasured, 0},
	} {
		f := &Finding{}
		err := gateRouting(context.Background(), gateAudit(t, gating(c.wrap, spec.Documented)), f)
		rows := 0
		if f.Curve != nil {
			rows = len(f.Curve.Rows)
		}
		if err != nil || f.Verdict != c.want || rows != c.rows {
			t.Errorf("%s: %v, %v, %d rows; want %v", c.name, err, f.Verdict, rows, c.want)
		}
	}
	for _, change := range []func([]int32) []int32{
		func(r []int32) []int32 { return r[1:] }, func(r []int32) []int32 { r[0] = 2; return r }, func(r []int32) []int32 { r[0] = -1; return r }, func([]int32) []int32 { return nil },
	} {
		f := &Finding{}
		err := gateRouting(context.Background(), gateAudit(t, gating(func(m spec.EmbeddingGate) spec.EmbeddingGate { return gateOtherwise{m, change} }, spec.Documented)), f)
		if err == nil || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
			t.Errorf("%v, %v", err, f.Verdict)
		}
	}
}

func TestGatePicturesAreChecked(t *testing.T) {
	sequential(t)
	a := gateAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	for n, name := range dataImages[:2] {
		f := &Finding{}
		if err := gateRouting(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
			t.Errorf("%d pictures: %v, %v", n, err, f.Verdict)
		}
		spoil(t, a.Data, name, string(encoded(t, drawnScene(rand.New(rand.NewPCG(1, uint64(n))), 64, 64))))
	}
	f := &Finding{}
	if err := gateRouting(context.Background(), a, f); err != nil || f.Verdict != Conditional || !slices.Equal(f.Evidence, dataImages[:2]) {
		t.Errorf("%v, %+v", err, f)
	}
	for _, c := range []struct{ picture, want string }{{string(encoded(t, image.NewGray(image.Rect(0, 0, 31, 16)))), "31×16"}, {string(encoded(t, image.NewGray(image.Rect(0, 0, 32, 15)))), "32×15"}, {"no image", "a PNG or JPEG image"}} {
		spoil(t, a.Data, dataImages[1], c.picture)
		f := &Finding{}
		err := gateRouting(context.Background(), a, f)
		refused(t, f, err, dataImages[1])
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	a.Subject.Model = lettersSubject(t).Model
	f = &Finding{}
	if err := gateRouting(context.Background(), a, f); err != nil || f.Verdict != Unmeasured || !strings.Contains(f.Note, "elements") {
		t.Errorf("of another width: %v, %v", err, f.Verdict)
	}
}

func TestOneTokenTrainsNoGate(t *testing.T) {
	a := gateAudit(t, fast.Implementation())
	a.Subject.Evaluation = []string{""}
	f := &Finding{}
	if err := gateRouting(context.Background(), a, f); err != nil || f.Verdict != Unmeasured || !strings.Contains(f.Note, "two different tokens") {
		t.Errorf("%v: %+v", err, f)
	}
}
