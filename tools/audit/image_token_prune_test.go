package audit

import (
	"context"
	"errors"
	"image"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
	tinyshapes "github.com/squishspec/squishspec/vision/shapes"
)

// spots is a model of pictures of 3×3 patches that are black but for one pixel, whose
// place in its patch is the class: all queries attend to the patch that is not all
// black, and the class is read from it.
func spots(t *testing.T) (*vision.Model, []vision.Labelled) {
	t.Helper()
	c := vision.Config{Patch: 2, Grid: 3, Dim: 8, Hidden: 1, Layers: 3, Heads: 2, Classes: 2}
	m, err := vision.New(c, make([]float32, c.Parameters()))
	if err != nil {
		t.Fatal(err)
	}
	for pixel := range 4 {
		m.Embedding[pixel*4+pixel] = 100 // positions are small against it
		m.Query[pixel] = 10
	}
	for i := range m.Norm {
		m.Norm[i] = 1
		for _, l := range m.Layers {
			l.AttentionNorm[i], l.FeedForwardNorm[i] = 1, 1
		}
	}
	for _, l := range m.Layers {
		for _, head := range []int{0, 4} {
			for pixel := range 4 {
				l.Queries[head*8+pixel], l.Keys[head*8+pixel] = -1, 1
			}
		}
	}
	m.Head[0], m.Head[1], m.Head[8], m.Head[9] = 1, -1, -1, 1
	var pictures []vision.Labelled
	for i := range 90 {
		p := image.NewGray(image.Rect(0, 0, 6, 6))
		patch, class := i%9, i/9%2
		p.Pix[(patch/3*2)*6+patch%3*2+class] = 255
		pictures = append(pictures, vision.Labelled{Picture: p, Class: class})
	}
	return m, pictures
}

// wrongPrune tells tokens as a function of those that the module keeps and prunes.
type wrongPrune struct {
	spec.ImageTokenPrune
	wrong func(*spec.PrunedTokens)
}

func (w wrongPrune) Prune(dst *spec.PrunedTokens, attention spec.Heads) error {
	err := w.ImageTokenPrune.Prune(dst, attention)
	w.wrong(dst)
	return err
}

// pruningWith is an audit of an implementation that is wrong from some prune_ratio on.
func pruningWith(t *testing.T, from float64, wrong func(*spec.PrunedTokens)) *Audit {
	impl := fast.Implementation()
	honest := impl.ImageTokenPrune
	impl.ImageTokenPrune = func(c spec.ImageTokenPruneConfig) (spec.ImageTokenPrune, error) {
		p, err := honest(c)
		if err != nil || c.PruneRatio < from {
			return p, err
		}
		return wrongPrune{p, wrong}, nil
	}
	return traceAudit(t, impl)
}

// swapLast keeps tokens that are to go, as many as there are, and no longer others.
func swapLast(p *spec.PrunedTokens) {
	for i := range min(len(p.Kept), len(p.Pruned)) {
		p.Kept[i], p.Pruned[i] = p.Pruned[i], p.Kept[i]
	}
	slices.Sort(p.Kept)
	slices.Sort(p.Pruned)
}

func TestThePruningVerdictIsMeasured(t *testing.T) {
	model, pictures := spots(t)
	for _, c := range []struct {
		from float64
		want Verdict
	}{{1, Supported}, {0.6, Conditional}, {0, Refuted}} {
		f := &Finding{}
		if err := pruningWith(t, c.from, swapLast).pruneImages(context.Background(), f, model, pictures, "spots", photographs{}); err != nil || f.Verdict != c.want {
			t.Fatalf("wrong from %v: %v, %v, want %v; %s", c.from, f.Verdict, err, c.want, f.Note)
		}
		if f.Interval == nil || !f.Interval.Holds(*f.Figure) || len(f.Curve.Rows) != 14 {
			t.Errorf("%+v", f)
		}
		// Of black patches, one class of two is said.
		if row := f.Curve.Rows[9]; !slices.Equal(row[:3], []float64{2, 50, 5}) || (row[3] == 100) != (c.from > 0) || row[3] < 50 || math.Abs(row[7]-(100-row[3])) > 1e-9 || *f.Figure != row[7] {
			t.Errorf("wrong from %v: %v, figure %v", c.from, row, *f.Figure)
		}
	}
}

// One picture that is lost is few, and its interval is not below what is tolerable.
func TestThePruningVerdictIsOfIntervals(t *testing.T) {
	model, pictures := spots(t)
	seen := false
	pictures = slices.DeleteFunc(pictures, func(p vision.Labelled) bool {
		last := p.Picture.Pix[28]+p.Picture.Pix[29] > 0 // in the last patch
		once := last && p.Class == 1 && !seen
		seen = seen || once
		return last && !once
	})
	dropLast := func(p *spec.PrunedTokens) {
		if k := len(p.Kept) - 1; p.Kept[k] == 8 {
			p.Kept[k], p.Pruned[len(p.Pruned)-1] = p.Pruned[len(p.Pruned)-1], 8
			slices.Sort(p.Kept)
		}
	}
	f := &Finding{}
	if err := pruningWith(t, 0, dropLast).pruneImages(context.Background(), f, model, pictures, "spots", photographs{}); err != nil || *f.Figure <= 0 || *f.Figure >= tolerablePoints || f.Interval.High <= tolerablePoints || f.Verdict != Refuted {
		t.Errorf("%v: %v, %+v", err, f.Verdict, f)
	}

	// Of four pictures, random choice may have lost what it lost by chance.
	_, pictures = spots(t)
	f = &Finding{}
	if err := pruningWith(t, 1, nil).pruneImages(context.Background(), f, model, pictures[:4], "spots", photographs{}); err != nil || f.Verdict != Conditional {
		t.Errorf("%v: %v, %s", err, f.Verdict, f.Note)
	}
	for _, row := range []int{9, 11} {
		if gain := f.Curve.Rows[row][10:]; gain[0] <= 0 || gain[1] > 0 {
			t.Errorf("%v against random choice: the case is none", gain)
		}
	}
}

// Where all patches stay, nothing changes, behind whichever layer.
func TestKeepingAllPatchesIsNoPruning(t *testing.T) {
	model, err := tinyshapes.Model()
	if err != nil {
		t.Fatal(err)
	}
	all := chooser{"all", func(_ int, _ *image.Gray, _ int, attention spec.Heads, _ float64) (kept []int, err error) {
		for i := range attention.Tokens {
			kept = append(kept, i)
		}
		return kept, nil
	}}
	pictures := tinyshapes.Draw(4, 12)
	for i := range pictures[:6] {
		pictures[i].Class = 0 // so that some are not known
	}
	whole, pruned, err := prunings(context.Background(), model, pictures, []chooser{all})
	if err != nil || len(pruned) != len(prunedAfter)*len(prunedShares) || count(whole) < 6 || count(whole) == 12 {
		t.Fatal(whole, len(pruned), err)
	}
	for i, known := range pruned {
		if !slices.Equal(known, whole) {
			t.Errorf("case %d: %v, want %v", i, known, whole)
		}
	}
}

func TestPatchesThatAreNotAPartitionAreNotTrusted(t *testing.T) {
	model, pictures := spots(t)
	for name, wrong := range map[string]func(*spec.PrunedTokens){
		"lost":    func(p *spec.PrunedTokens) { p.Pruned = p.Pruned[1:] },
		"twice":   func(p *spec.PrunedTokens) { p.Pruned[0] = p.Kept[0] },
		"foreign": func(p *spec.PrunedTokens) { p.Kept[len(p.Kept)-1] = 99 },
		"below":   func(p *spec.PrunedTokens) { p.Kept[0] = -1 },
		"order":   func(p *spec.PrunedTokens) { slices.Reverse(p.Kept) },
		"more": func(p *spec.PrunedTokens) {
			p.Kept, p.Pruned = slices.Sorted(slices.Values(slices.Concat(p.Kept, p.Pruned))), nil
		},
	} {
		f := &Finding{}
		err := pruningWith(t, 0, wrong).pruneImages(context.Background(), f, model, pictures, "spots", photographs{})
		if err == nil || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
			t.Errorf("%s: %v, verdict %q", name, err, f.Verdict)
		}
	}
}

// A variant that is not offered is left out, and a module that fails gives no verdict.
func TestPruningWithoutTheVariant(t *testing.T) {
	model, pictures := spots(t)
	impl := fast.Implementation()
	honest, broken := impl.ImageTokenPrune, errors.New("broken")
	impl.ImageTokenPrune = func(c spec.ImageTokenPruneConfig) (spec.ImageTokenPrune, error) {
		if c.Variant == spec.Squish6 {
			return nil, spec.Reject(spec.Unsupported, "image-token-prune", "variant", "documented", c.Variant)
		}
		return honest(c)
	}
	f := &Finding{}
	if err := traceAudit(t, impl).pruneImages(context.Background(), f, model, pictures, "spots", photographs{}); err != nil || slices.Contains(f.Curve.Columns, "squish6 %") || len(f.Curve.Columns) != len(f.Curve.Rows[0]) || f.Verdict != Supported {
		t.Errorf("%v: %+v", err, f)
	}
	impl.ImageTokenPrune = func(c spec.ImageTokenPruneConfig) (spec.ImageTokenPrune, error) {
		if c.PruneRatio == 0.8 {
			return nil, broken
		}
		return honest(c)
	}
	f = &Finding{}
	if err := traceAudit(t, impl).pruneImages(context.Background(), f, model, pictures, "spots", photographs{}); !errors.Is(err, broken) || f.Verdict != "" {
		t.Errorf("%v: %v", err, f.Verdict)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := traceAudit(t, fast.Implementation()).pruneImages(stopped, f, model, pictures, "spots", photographs{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPruningVerdict(t *testing.T) {
	both, first, second, none := [2]bool{true, true}, [2]bool{true}, [2]bool{false, true}, [2]bool{}
	for _, c := range []struct {
		cheap, better [2]bool
		want          Verdict
	}{
		{both, both, Supported}, {both, first, Conditional}, {both, second, Conditional}, {both, none, Conditional},
		{first, both, Conditional}, {second, both, Conditional}, {none, both, Refuted}, {none, none, Refuted},
	} {
		if got := pruningVerdict(c.cheap, c.better); got != c.want {
			t.Errorf("cheap %v, better %v: %v, want %v", c.cheap, c.better, got, c.want)
		}
	}
}

// The embedded model on a few shapes, on one core and on several.
func TestPruningOfDrawnShapesIsRepeatable(t *testing.T) {
	model, err := tinyshapes.Model()
	if err != nil {
		t.Fatal(err)
	}
	pictures := tinyshapes.Draw(9, 16)
	find := func() *Finding {
		f := &Finding{}
		if err := traceAudit(t, fast.Implementation()).pruneImages(context.Background(), f, model, pictures, "shapes", photographs{}); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := find()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if alone := find(); !reflect.DeepEqual(f, alone) {
		t.Errorf("one processor: %+v, want %+v", alone, f)
	}
	for _, row := range f.Curve.Rows {
		for _, share := range row[3:7] {
			if share > 100 || row[1] == 0 && share != row[3] {
				t.Errorf("%v", row)
			}
		}
	}
}

// What is judged by default is a seed's, whatever the seed.
func TestDrawnShapesAreOfTheSeed(t *testing.T) {
	var drawn [][]vision.Labelled
	for _, seed := range []uint64{1, 2, math.MaxUint64} {
		a := traceAudit(t, fast.Implementation())
		a.Seed = seed
		model, pictures, err := a.drawnShapes()
		if err != nil || model.Config != digitShape || len(pictures) != 1000 {
			t.Fatal(model.Config, len(pictures), err)
		}
		drawn = append(drawn, pictures)
	}
	if slices.Equal(drawn[0][0].Picture.Pix, drawn[1][0].Picture.Pix) || slices.Equal(drawn[0][0].Picture.Pix, drawn[2][0].Picture.Pix) {
		t.Error("two seeds have the same picture")
	}
}

func TestPatchDetail(t *testing.T) {
	picture := image.NewGray(image.Rect(0, 0, 5, 4)) // the last column is in no patch
	copy(picture.Pix, []uint8{0, 10, 7, 7, 99, 0, 10, 7, 7, 0})
	copy(picture.Pix[10:], []uint8{1, 2, 0, 0, 50, 3, 4, 0, 255, 3})
	if got, want := patchDetail(picture, 2), []float64{100, 0, 5, 255 * 255 * 0.75}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := patchDetail(picture.SubImage(image.Rect(2, 2, 4, 4)).(*image.Gray), 2); !slices.Equal(got, []float64{255 * 255 * 0.75}) {
		t.Errorf("inside: %v", got)
	}
}

func TestBaselinesOfPruning(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	choosers, err := a.choosers(1)
	if err != nil || len(choosers) != 4 {
		t.Fatal(len(choosers), err)
	}
	picture := image.NewGray(image.Rect(0, 0, 6, 6))
	picture.Pix[0], picture.Pix[35], picture.Pix[20] = 100, 200, 1 // patches 0, 8 and 4
	var attention spec.Heads
	attention.Resize(1, 9, 9)
	for q := range 9 {
		clear(attention.Head(0).Row(q))
		attention.Head(0).Row(q)[q/3] = 1 // to tokens 0, 1 and 2
	}
	choose := func(name string, number int, share float64) []int {
		i := slices.IndexFunc(choosers, func(c chooser) bool { return c.name == name })
		kept, err := choosers[i].choose(number, picture, 2, attention, share)
		if err != nil {
			t.Fatal(name, err)
		}
		return kept
	}
	for share, want := range map[float64][]int{0.8: {0, 8}, 0.7: {0, 4, 8}, 0.6: {0, 1, 4, 8}} {
		if got := choose("contrast", 0, share); !slices.Equal(got, want) {
			t.Errorf("contrast, %v gone: %v, want %v", share, got, want)
		}
	}
	if got := choose("documented", 0, 0.7); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("documented: %v", got)
	}
	times := make([]int, 9)
	for number := range 900 {
		few, many := choose("random", number, 0.7), choose("random", number, 0.3)
		if len(few) != 3 || len(many) != 7 || !slices.IsSorted(many) || !slices.Equal(few, choose("random", number, 0.7)) {
			t.Fatalf("random: %v, %v", few, many)
		}
		for _, k := range few {
			times[k]++
			if !slices.Contains(many, k) {
				t.Fatalf("random: %v of %v", few, many)
			}
		}
	}
	if slices.Min(times) < 240 || slices.Max(times) > 360 { // of 300 to be expected
		t.Errorf("random keeps %v", times)
	}
}

func TestPointsMore(t *testing.T) {
	a := &Audit{}
	by, interval := a.pointsMore([]bool{true, true, true, false}, []bool{true, false, false, true})
	if by != 25 || !interval.Holds(25) || interval.Low > 0 || interval.High != 100 || interval.Method != "bootstrap over pictures" {
		t.Errorf("%v, %+v", by, interval)
	}
}

// Of two layers of four: a layer of 49 tokens has 49·(4·32² + 2·32·64 + 2·32·49)
// multiply-adds, one of 25 has 25·(8192 + 1600).
func TestSavedMulAdds(t *testing.T) {
	c := vision.Config{Patch: 4, Grid: 7, Dim: 32, Hidden: 64, Layers: 4, Heads: 4, Classes: 10}
	whole := 49.0*32*16 + 4*555_072 + 320
	if got, want := savedMulAdds(c, 0.5), 2*(555_072-244_800)/whole; math.Abs(got-want) > 1e-12 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestMiddleSquare(t *testing.T) {
	for _, c := range []struct{ in, want image.Rectangle }{
		{image.Rect(0, 0, 600, 400), image.Rect(104, 4, 496, 396)}, {image.Rect(0, 0, 30, 57), image.Rect(1, 14, 29, 42)}, {image.Rect(0, 0, 13, 20), image.Rect(6, 10, 6, 10)},
	} {
		if got := middleSquare(image.NewGray(c.in), 14).Rect; got != c.want && !(got.Empty() && c.want.Empty()) {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// What is kept is seen: every variant and share has its picture, and where there are
// photographs the note says what they keep.
func TestPicturesOfWhatIsKept(t *testing.T) {
	sequential(t)
	model, err := tinyshapes.Model()
	if err != nil {
		t.Fatal(err)
	}
	a := traceAudit(t, fast.Implementation())
	choosers, err := a.choosers(model.Config.Heads)
	if err != nil {
		t.Fatal(err)
	}
	a.Pictures = filepath.Join(t.TempDir(), "new")
	if note, err := a.showPruned(&Finding{}, model, tinyshapes.Draw(1, 5), photographs{}, choosers); err != nil || note != "" {
		t.Fatal(note, err)
	}
	names, err := filepath.Glob(filepath.Join(a.Pictures, "image-shape-*.png"))
	if err != nil || len(names) != 3*2*4 {
		t.Fatalf("%v, %v", names, err)
	}
	shown, err := readImage(a.Pictures, "image-shape-2-contrast-30.png")
	if err != nil || shown.Rect != image.Rect(0, 0, 448, 448) {
		t.Fatal(err)
	}

	a.Data, a.Pictures = t.TempDir(), t.TempDir()
	f := &Finding{}
	photos := func() photographs {
		t.Helper()
		p, err := a.photographs()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if note, err := a.showPruned(f, model, nil, photos(), choosers); err != nil || !strings.Contains(note, "no photographs") {
		t.Error(note, err)
	}
	// All detail is in one patch of the upper left.
	photograph := image.NewGray(image.Rect(0, 0, 150, 140))
	photograph.Pix[5] = 255
	if err := os.MkdirAll(filepath.Join(a.Data, "images"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Data, dataImages[0]), encoded(t, photograph), 0o666); err != nil {
		t.Fatal(err)
	}
	note, err := a.showPruned(f, model, nil, photos(), choosers)
	if err != nil || !strings.Contains(note, ": 1 photographs") || strings.Count(note, "100% by contrast (100…100)") != 2 || !slices.Equal(f.Evidence, dataImages[:1]) {
		t.Errorf("%v: %s, %v", err, note, f.Evidence)
	}
	if shown, err := readImage(a.Pictures, "image-astronaut-documented-50.png"); err != nil || shown.Rect != image.Rect(0, 0, 140, 140) {
		t.Error(err)
	}
	small := image.NewGray(image.Rect(0, 0, 13, 20))
	if err := os.WriteFile(filepath.Join(a.Data, dataImages[0]), encoded(t, small), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := a.photographs(); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), dataImages[0]) {
		t.Error(err)
	}
}

// A model sees the middle of a photograph alone, with the attention of the layer that
// is pruned, and is asked for the shares of which there are pictures.
func TestWhatTheModelSeesOfAPhotograph(t *testing.T) {
	model, err := tinyshapes.Model()
	if err != nil {
		t.Fatal(err)
	}
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	wide := image.NewGray(image.Rect(0, 0, 196, 56)) // white, with a black square in the middle
	for i := range wide.Pix {
		if x := i % 196; x < 70 || x >= 126 {
			wide.Pix[i] = 255
		}
	}
	if err := os.MkdirAll(filepath.Join(a.Data, "images"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Data, dataImages[1]), encoded(t, wide), 0o666); err != nil {
		t.Fatal(err)
	}
	s := model.Session()
	var x spec.Matrix
	if err := s.Embed(&x, image.NewGray(image.Rect(0, 0, 56, 56))); err != nil {
		t.Fatal(err)
	}
	s.Layer(&x, 0)
	s.Layer(&x, 1)
	var shares []float64
	look := chooser{"look", func(_ int, _ *image.Gray, patch int, attention spec.Heads, share float64) ([]int, error) {
		shares = append(shares, share)
		if patch != 4 || !slices.Equal(attention.Data, s.Attention.Data) {
			t.Errorf("patches of %d pixels, or other attention than that of a black square", patch)
		}
		return nil, nil
	}}
	photos, err := a.photographs()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.showPruned(&Finding{}, model, nil, photos, []chooser{look}); err != nil || !slices.Equal(shares, []float64{0.5, 0.7}) {
		t.Errorf("%v, %v", shares, err)
	}
}
