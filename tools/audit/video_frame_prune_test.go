package audit

import (
	"context"
	"errors"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// Four frames of two patches of one pixel, in 255ths: 10 20, 30 20, 30 60, 20 20.
func pixelClip() spec.Heads {
	x := spec.Heads{Heads: 4, Tokens: 2, Dim: 1, Stride: 2}
	for _, v := range []float32{10, 20, 30, 20, 30, 60, 20, 20} {
		x.Data = append(x.Data, v/255)
	}
	return x
}

func TestWhatIsShown(t *testing.T) {
	for _, c := range []struct {
		name string
		kept kept
		own  bool
		want []float64 // of each frame
	}{
		{"all", kept{{0, 1}, {0, 1}, {0, 1}, {0, 1}}, false, []float64{0, 0, 0, 0}},
		{"the first frame", kept{{0, 1}, nil, nil, nil}, false, []float64{0, 200, (400 + 1600) / 2., 50}},
		{"never the second patch", kept{{0}, nil, nil, nil}, false, []float64{50, (400 + 100) / 2., (400 + 2500) / 2., 100}},
		{"that as the latest frame has it", kept{{0}, nil, {0}, nil}, false, []float64{50, 250, 450, 100}},
		{"a patch from an earlier frame", kept{{0, 1}, nil, {0}, nil}, false, []float64{0, 200, 800, 50}},
		{"in its own grey", kept{{0}, nil, nil, nil}, true, []float64{0, 200, 200, 50}},
	} {
		got := c.kept.squares(pixelClip(), 2, c.own)
		for i, w := range c.want {
			if math.Abs(got[i]-w) > 1e-3 {
				t.Errorf("%s: %.3f, want %v", c.name, got, c.want)
				break
			}
		}
	}
	if got := rmse([]float64{0, 2, 16, 18}); got != 3 {
		t.Errorf("rmse %v, want 3", got)
	}
}

// Patches are in rows of three; of equally near ones the first is taken.
func TestNearestPatch(t *testing.T) {
	for _, c := range []struct {
		p       int
		patches []int
		want    int
	}{{4, []int{0, 2, 6, 8}, 0}, {4, []int{0, 7}, 7}, {2, []int{3, 5}, 5}, {2, []int{3, 8}, 8}, {0, []int{0, 1}, 0}, {0, []int{1, 6}, 1}} {
		if got := nearestPatch(c.p, c.patches, 3); got != c.want {
			t.Errorf("%d of %v: %d, want %d", c.p, c.patches, got, c.want)
		}
	}
}

func TestBaselinesHaveAsManyTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for tokens := 1; tokens <= 5*4; tokens++ {
		k := wholeFrames(tokens, 5, 4, r)
		frames := k.frames()
		if k.tokens() != tokens || len(frames) != (tokens+3)/4 || frames[0] != 0 {
			t.Errorf("%d tokens: %v", tokens, k)
		}
		for _, f := range frames[:len(frames)-1] {
			if len(k[f]) != 4 {
				t.Errorf("%d tokens: %v", tokens, k)
			}
		}
	}
	if got := wholeFrames(8, 5, 4, r).frames(); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("two frames of five: %v", got)
	}
	k := kept{{0, 1}, {3}, nil, nil, {1, 2, 3}, nil}.scattered(4, r)
	if !slices.Equal(k.frames(), []int{0, 2, 4}) || len(k[0]) != 2 || len(k[2]) != 1 || len(k[4]) != 3 {
		t.Errorf("%v", k)
	}
}

func TestChanges(t *testing.T) {
	got := changes(pixelClip())
	want := []float64{20, 0, 0, 40, 10, 40}
	for i, w := range want {
		if math.Abs(got[i]-w) > 1e-3 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if got := stillShare([]float64{0, 1.99, 2, 3}); got != 0.5 {
		t.Errorf("%v are still, want half", got)
	}
}

// 16 frames are two runs, of which a bootstrap draws two.
func TestNearer(t *testing.T) {
	squares, other := make([]float64, 16), make([]float64, 16)
	for i := range other {
		if i < 8 {
			other[i] = 2
		} else {
			squares[i] = 1
		}
	}
	by, interval := nearer(squares, other, 1)
	if by != 0.5 || interval.Low != -1 || interval.High != 2 {
		t.Errorf("%v, %v", by, interval)
	}
	if by, _ := nearer(make([]float64, 9), append(make([]float64, 8), 9), 1); by != 1 { // the last run is short
		t.Errorf("%v", by)
	}
}

func TestPrunesWell(t *testing.T) {
	over, not := Interval{Low: 1, High: 2}, Interval{Low: -1, High: 2}
	for _, c := range []struct {
		removed      float64
		whole, drawn Interval
		want         bool
	}{{60, over, over, true}, {99, over, over, true}, {59, over, over, false}, {60, over, not, false}, {60, not, over, false}} {
		if got := prunesWell(c.removed, c.whole, c.drawn); got != c.want {
			t.Errorf("%v: %t", c, got)
		}
	}
	n := 0.0
	if got, err := averaged(context.Background(), func() []float64 { n++; return []float64{n, 2} }); err != nil || !slices.Equal(got, []float64{2.5, 2}) {
		t.Errorf("%v, want the mean of 1 to 4, and 2", got)
	}
}

// Of frames of two patches, the strip has the kept ones bright.
func TestStripOfWhatIsKept(t *testing.T) {
	c := &clip{width: 32, height: 16}
	for v := range 3 {
		c.frames = append(c.frames, slices.Repeat([]uint8{uint8(100 + 4*v)}, 32*16))
	}
	strip := kept{{1}, nil, {0, 1}}.strip(c)
	if strip.Rect != image.Rect(0, 0, 64, 16) || !slices.Equal([]uint8{strip.Pix[0], strip.Pix[16], strip.Pix[32], strip.Pix[48]}, []uint8{25, 100, 108, 108}) {
		t.Errorf("%v: %v", strip.Rect, strip.Pix[:64])
	}
}

// Judged twice, which takes a second: one seed gives one finding.
func TestVideoTokensOfDrawnClips(t *testing.T) {
	sequential(t)
	a := traceAudit(t, fast.Implementation())
	a.Pictures = t.TempDir()
	f, again := &Finding{}, &Finding{}
	if err := errors.Join(videoTokens(context.Background(), a, f), videoTokens(context.Background(), a, again)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, again) {
		t.Error("two runs of one seed differ")
	}
	if f.Verdict != Conditional || f.Figure == nil || !f.Exact || len(f.Curve.Rows) != 4*12 {
		t.Errorf("%+v", f)
	}
	if !strings.Contains(f.Note, "levels a frame: 1 (fixed camera") || !strings.Contains(f.Note, "They do not: 2 (pan") {
		t.Error(f.Note)
	}
	for _, row := range f.Curve.Rows {
		if defaults := row[2] == 0.1 && row[3] == 0.3; defaults && row[5] < *f.Figure {
			t.Errorf("%v, the figure is %v", row, *f.Figure)
		}
		if len(row) != len(f.Curve.Columns) || row[7] > row[6]+1e-9 { // its own grey is the best
			t.Errorf("%v", row)
		}
		if row[3] == 0 && math.Abs(row[5]-(100-row[4])) > 1e-9 { // no spatial stage
			t.Errorf("%v", row)
		}
	}
	file, err := os.Open(filepath.Join(a.Pictures, "video-frame-prune-3.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if strip, err := png.Decode(file); err != nil || strip.Bounds().Dx() != 6*96 || strip.Bounds().Dy() != 64 {
		t.Error(strip.Bounds(), err)
	}
}

// prunesWith is a module of which some is replaced.
type prunesWith struct {
	spec.VideoFramePrune
	temporal func(frames []int) []int
	spatial  func(patches []int) []int
}

func (p prunesWith) PruneTemporal(dst *[]int, x spec.Matrix) error {
	err := p.VideoFramePrune.PruneTemporal(dst, x)
	*dst = p.temporal(*dst)
	return err
}

func (p prunesWith) PruneSpatial(dst *[]int, x spec.Matrix) error {
	err := p.VideoFramePrune.PruneSpatial(dst, x)
	*dst = p.spatial(*dst)
	return err
}

// prunesAtOnce prunes a clip in another way than in two stages.
type prunesAtOnce struct {
	spec.VideoFramePrune
	change func(*spec.PrunedClip)
}

func (p prunesAtOnce) PruneClip(dst *spec.PrunedClip, x spec.Heads) error {
	err := p.VideoFramePrune.(spec.VideoClipPrune).PruneClip(dst, x)
	p.change(dst)
	return err
}

func pruning(wrap func(spec.VideoFramePrune) spec.VideoFramePrune) spec.Implementation {
	impl := fast.Implementation()
	honest := impl.VideoFramePrune
	impl.VideoFramePrune = func(c spec.VideoFramePruneConfig) (spec.VideoFramePrune, error) {
		m, err := honest(c)
		if err != nil {
			return nil, err
		}
		return wrap(m), nil
	}
	return impl
}

func as(places []int) []int { return places }

func TestAWrongVideoFramePruneIsNoticed(t *testing.T) {
	sequential(t)
	for _, c := range []struct {
		name              string
		temporal, spatial func([]int) []int
	}{
		{"no frame", func([]int) []int { return nil }, as},
		{"not the first", func([]int) []int { return []int{2} }, as},
		{"a frame that there is not", func(f []int) []int { return append(f, 80) }, as},
		{"a frame twice", func(f []int) []int { return append(f[:1:1], f...) }, as},
		{"a patch too few", as, func(p []int) []int { return p[1:] }},
		{"no patch", as, func([]int) []int { return nil }},
		{"a patch that there is not", as, func(p []int) []int { return append(p, 24) }},
		{"a negative patch", as, func(p []int) []int { return append([]int{-1}, p...) }},
		{"patches that descend", as, func(p []int) []int { slices.Reverse(p); return p }},
	} {
		f := &Finding{}
		err := videoTokens(context.Background(), traceAudit(t, pruning(func(m spec.VideoFramePrune) spec.VideoFramePrune {
			return prunesWith{m, c.temporal, c.spatial}
		})), f)
		if err == nil || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
			t.Errorf("%s: %v, %v", c.name, err, f.Verdict)
		}
	}
	for _, change := range []func(*spec.PrunedClip){
		func(p *spec.PrunedClip) { p.Frames = p.Frames[:0] }, func(p *spec.PrunedClip) { p.Reduction /= 2 }, func(p *spec.PrunedClip) { p.Reduction = math.NaN() },
	} {
		err := videoTokens(context.Background(), traceAudit(t, pruning(func(m spec.VideoFramePrune) spec.VideoFramePrune {
			return prunesAtOnce{m, change}
		})), &Finding{})
		if err == nil || !strings.Contains(err.Error(), "in two stages") {
			t.Errorf("%v", err)
		}
	}
}

// firstPatches keeps as many patches as it is to, the first ones.
func firstPatches(patches []int) []int {
	for i := range patches {
		patches[i] = i
	}
	return patches
}

// A module that keeps every frame has another verdict. One that cannot prune a clip at
// once is judged all the same, and so is one without squish6.
func TestTheVideoVerdictIsMeasured(t *testing.T) {
	sequential(t)
	impl := fast.Implementation()
	impl.VideoFramePrune = func(c spec.VideoFramePruneConfig) (spec.VideoFramePrune, error) {
		c.MotionThreshold = 1e-300
		return fast.Implementation().VideoFramePrune(c)
	}
	f := &Finding{}
	if err := videoTokens(context.Background(), traceAudit(t, impl), f); err != nil || f.Verdict != Refuted || math.Abs(*f.Figure-100*7/24.) > 1e-9 {
		t.Errorf("of every frame: %v, %+v", err, f)
	}
	impl = pruning(func(m spec.VideoFramePrune) spec.VideoFramePrune { return prunesWith{m, as, as} })
	wrapped := impl.VideoFramePrune
	impl.VideoFramePrune = func(c spec.VideoFramePruneConfig) (spec.VideoFramePrune, error) {
		if c.Variant == spec.Squish6 {
			return nil, spec.Reject(spec.Unsupported, "video-frame-prune", "variant", "documented", c.Variant)
		}
		return wrapped(c)
	}
	f = &Finding{}
	if err := videoTokens(context.Background(), traceAudit(t, impl), f); err != nil || f.Verdict != Conditional || strings.Contains(f.Note, "squish6") {
		t.Errorf("without what is optional: %v, %v", err, f.Verdict)
	}
}

// Of scenes that last unequally, each of a flat patch, two of noise and one that is
// always the same, the defaults keep what there is to see, and a module that keeps the
// first patches does not.
func TestTheVideoVerdictOfScenes(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	r := rand.New(rand.NewPCG(5, 5))
	var film, scene []byte
	for at := range 64 {
		if at%8 < 2 {
			scene = make([]byte, 32*32)
			for i := range scene {
				scene[i] = 128
				switch right, low := i%32 >= 16, i/32 >= 16; {
				case right && low:
					scene[i] = byte(i % 2 * 255)
				case right || low:
					scene[i] = byte(r.IntN(256))
				}
			}
		}
		film = append(film, scene...)
	}
	spoil(t, a.Data, "video/scenes_32x32_64f.raw", string(film))
	f := &Finding{}
	if err := videoTokens(context.Background(), a, f); err != nil || f.Verdict != Supported || !slices.Equal(f.Evidence, []string{"video/scenes_32x32_64f.raw"}) {
		t.Errorf("%v, %+v", err, f)
	}
	a.Implementation = pruning(func(m spec.VideoFramePrune) spec.VideoFramePrune { return prunesWith{m, as, firstPatches} })
	f = &Finding{}
	if err := videoTokens(context.Background(), a, f); err != nil || f.Verdict != Refuted {
		t.Errorf("of the first patches: %v, %v", err, f.Verdict)
	}
}
