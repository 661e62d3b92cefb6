package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var videoFramePrune = spec.ModuleByName("video-frame-prune")

var videoFramePruneModule = &module{
	spec: videoFramePrune,
	laws: map[string]func(*trial){
		"motion":         videoMotion,
		"still":          videoStill,
		"online":         videoOnline,
		"repeats":        videoRepeats,
		"brightness":     videoBrightness,
		"count":          videoCount,
		"entropy":        videoEntropy,
		"shuffle":        videoShuffle,
		"ties":           videoTies,
		"clip":           videoClip,
		"stats":          videoStats,
		"cosine-squish6": videoCosineSquish6,
		"norm-squish6":   videoNormSquish6,
	},
	program: videoProgram,
	badConfigs: map[string]any{
		"an unknown variant":         videoWith(func(c *spec.VideoFramePruneConfig) { c.Variant = "squish7" }),
		"n_frames 0":                 videoWith(func(c *spec.VideoFramePruneConfig) { c.NFrames = 0 }),
		"tokens_per_frame −1":        videoWith(func(c *spec.VideoFramePruneConfig) { c.TokensPerFrame = -1 }),
		"similarity_threshold 0":     videoWith(func(c *spec.VideoFramePruneConfig) { c.SimilarityThreshold = 0 }),
		"similarity_threshold 1.01":  videoWith(func(c *spec.VideoFramePruneConfig) { c.SimilarityThreshold = 1.01 }),
		"similarity_threshold NaN":   videoWith(func(c *spec.VideoFramePruneConfig) { c.SimilarityThreshold = math.NaN() }),
		"motion_threshold 0":         videoWith(func(c *spec.VideoFramePruneConfig) { c.MotionThreshold = 0 }),
		"motion_threshold −0.1":      videoWith(func(c *spec.VideoFramePruneConfig) { c.MotionThreshold = -0.1 }),
		"motion_threshold NaN":       videoWith(func(c *spec.VideoFramePruneConfig) { c.MotionThreshold = math.NaN() }),
		"motion_threshold +Inf":      videoWith(func(c *spec.VideoFramePruneConfig) { c.MotionThreshold = math.Inf(1) }),
		"spatial_prune_ratio 1":      videoWith(func(c *spec.VideoFramePruneConfig) { c.SpatialPruneRatio = 1 }),
		"spatial_prune_ratio −0.1":   videoWith(func(c *spec.VideoFramePruneConfig) { c.SpatialPruneRatio = -0.1 }),
		"spatial_prune_ratio NaN":    videoWith(func(c *spec.VideoFramePruneConfig) { c.SpatialPruneRatio = math.NaN() }),
		"embed_dim 0":                videoWith(func(c *spec.VideoFramePruneConfig) { c.EmbedDim = 0 }),
		"embed_dim −4":               videoWith(func(c *spec.VideoFramePruneConfig) { c.EmbedDim = -4 }),
		"embed_dim beyond 2³⁰":       videoWith(func(c *spec.VideoFramePruneConfig) { c.EmbedDim = 1<<30 + 1 }),
		"embed_dim 0 as squish6":     videoWith(func(c *spec.VideoFramePruneConfig) { c.Variant, c.EmbedDim = spec.Squish6, 0 }),
		"a ratio of 1 as squish6":    videoWith(func(c *spec.VideoFramePruneConfig) { c.Variant, c.SpatialPruneRatio = spec.Squish6, 1 }),
		"a similarity 0 as squish6":  videoWith(func(c *spec.VideoFramePruneConfig) { c.Variant, c.SimilarityThreshold = spec.Squish6, 0 }),
		"tokens_per_frame 0 squish6": videoWith(func(c *spec.VideoFramePruneConfig) { c.Variant, c.TokensPerFrame = spec.Squish6, 0 }),
	},
	badSteps: videoBadSteps,
	equal: map[string]comparison{
		"prune_temporal": func(t *trial, config any, args []any, got, want any) {
			sameFrames(t, config.(spec.VideoFramePruneConfig), args[0].(spec.Matrix), *got.(*[]int), *want.(*[]int))
		},
		"prune_spatial": func(t *trial, config any, args []any, got, want any) {
			samePatches(t, config.(spec.VideoFramePruneConfig), args[0].(spec.Matrix), *got.(*[]int), *want.(*[]int))
		},
		"prune_clip": func(t *trial, config any, args []any, got, want any) {
			sameClip(t, config.(spec.VideoFramePruneConfig), args[0].(spec.Heads), *got.(*spec.PrunedClip), *want.(*spec.PrunedClip))
		},
	},
	rows: []row{
		{"video-frame-prune/prune-temporal", videoTemporalRow, videoSameResult},
		{"video-frame-prune/prune-spatial", videoSpatialRow, videoSameResult},
	},
}

// videoWith is a good config of four elements, changed.
func videoWith(change func(*spec.VideoFramePruneConfig)) spec.VideoFramePruneConfig {
	c := spec.DefaultVideoFramePruneConfig()
	c.EmbedDim = 4
	change(&c)
	return c
}

// decides tells whether frame a is kept after b, as far as that can be told.
func decides(c spec.VideoFramePruneConfig, a, b []float32, u float64) (kept, clear bool) {
	roundings := u * float64(2*len(a)+16)
	if c.Variant == spec.Squish6 {
		cosine := cosineRanking([][]float32{a}, b, 1e-10, u).scores[0]
		return cosine < c.SimilarityThreshold, math.Abs(cosine-c.SimilarityThreshold) > 0x1p-20*c.SimilarityThreshold+roundings
	}
	var moved, size neumaier
	for i := range a {
		moved.add(math.Abs(float64(a[i]) - float64(b[i])))
		size.add(math.Abs(float64(b[i])))
	}
	d, limit := moved.total(), c.MotionThreshold*size.total()
	if d == 0 || limit == 0 {
		return d > 0, true
	}
	return d >= limit, math.Abs(d-limit) > (0x1p-20+roundings)*max(d, limit)
}

// followsFrames asserts that each frame is kept or not as the last one kept, by
// the implementation's own choice, says.
func followsFrames(t *trial, c spec.VideoFramePruneConfig, x spec.Matrix, kept []int) {
	t.Helper()
	next := 0
	last := -1
	for f := range x.Rows {
		isKept := next < len(kept) && kept[next] == f
		if want, clear := f == 0, true; f > 0 {
			want, clear = decides(c, x.Row(f), x.Row(last), t.u)
			t.holds(isKept == want || !clear, "frame %d after %d: kept %v, want %v; kept %d", f, last, isKept, want, kept)
		} else {
			t.holds(isKept == want, "kept %d, without the first frame", kept)
		}
		if isKept {
			last = f
			next++
		}
	}
	t.holds(next == len(kept), "kept %d: not frames below %d, ascending", kept, x.Rows)
}

func sameFrames(t *trial, c spec.VideoFramePruneConfig, x spec.Matrix, got, want []int) {
	t.Helper()
	if slices.Equal(got, want) {
		t.asserted++
		return
	}
	followsFrames(t, c, x, got)
	// One of the two then rests on a frame that cannot be told: which one is seen
	// where they part.
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			f := want[i]
			if i < len(got) {
				f = min(f, got[i])
			}
			_, clear := decides(c, x.Row(f), x.Row(want[i-1]), t.u)
			t.holds(!clear, "kept %d, want %d", got, want)
			return
		}
	}
}

// patchRanking scores patches anew, bins cut in big floats.
func patchRanking(c spec.VideoFramePruneConfig, x spec.Matrix, u float64) ranking {
	r := ranking{make([]float64, x.Rows), make([]float64, x.Rows)}
	low, high := bigNumber(float64(slices.Min(x.Data))), bigNumber(float64(slices.Max(x.Data)))
	span := bigNumber(0).Sub(high, low)
	for i := range x.Rows {
		if c.Variant == spec.Squish6 {
			r.scores[i], _ = bigNorm(x.Row(i)).Float64()
			r.margins[i] = u * float64(x.Cols+16) * r.scores[i]
			continue
		}
		if span.Sign() == 0 {
			continue
		}
		counts, uncertain := [16]int{}, 0
		for _, v := range x.Row(i) {
			z := bigNumber(0).Sub(bigNumber(float64(v)), low)
			z.Quo(z.Mul(z, bigNumber(16)), span)
			bin, _ := z.Int64()
			counts[min(int(bin), 15)]++
			place, _ := z.Float64()
			// Even an element on an edge may be computed to lie below it.
			edge := math.Round(place)
			if edge > 0 && edge < 16 && math.Abs(place-edge) <= 0x1p-16+64*u {
				uncertain++
			}
		}
		for _, n := range counts {
			if n > 0 {
				p := float64(n) / float64(x.Cols)
				r.scores[i] -= p * math.Log(p)
			}
		}
		n := float64(x.Cols)
		r.margins[i] = 32*u*r.scores[i] + float64(uncertain)*2*max(math.Log(n), 1)/n
	}
	return r
}

func samePatches(t *trial, c spec.VideoFramePruneConfig, x spec.Matrix, got, want []int) {
	t.Helper()
	t.holds(slices.IsSorted(got), "kept %d, want them ascending", got)
	patchRanking(c, x, t.u).sameTop(t, "kept", got, want)
}

// clipFrames is a clip whose frames are rows.
func clipFrames(x spec.Heads) spec.Matrix {
	m := spec.Matrix{Rows: x.Heads, Cols: x.Tokens * x.Dim}
	for f := range x.Heads {
		m.Data = append(m.Data, x.Head(f).Data...)
	}
	return m
}

func sameClip(t *trial, c spec.VideoFramePruneConfig, x spec.Heads, got, want spec.PrunedClip) {
	t.Helper()
	sameFrames(t, c, clipFrames(x), got.Frames, want.Frames)
	if !slices.Equal(got.Frames, want.Frames) {
		return
	}
	t.equal("number of frames with patches", len(got.Patches), len(want.Frames))
	for i, f := range want.Frames {
		samePatches(t, c, x.Head(f), got.Patches[i], want.Patches[i])
	}
	t.within("reduction", got.Reduction, want.Reduction, 0x1p-50)
}

func drawVideoConfig(t *trial, v spec.Variant) spec.VideoFramePruneConfig {
	return videoWith(func(c *spec.VideoFramePruneConfig) {
		c.Variant = v
		c.EmbedDim = size(t, 1, 8, "embed_dim")
		c.MotionThreshold = rapid.SampledFrom([]float64{0.1, 0.02, 0.3, 1, 2}).Draw(t.T, "motion_threshold")
		c.SimilarityThreshold = rapid.SampledFrom([]float64{0.92, 0.5, 0.99, 1, 0.1}).Draw(t.T, "similarity_threshold")
		c.SpatialPruneRatio = rapid.SampledFrom([]float64{0.3, 0, 0.5, 0.7, 0.29, 0.9}).Draw(t.T, "spatial_prune_ratio")
	})
}

// film draws frames in which some elements move a little, or much.
func film(t *trial, frames, dim int, label string) spec.Matrix {
	if rapid.IntRange(0, 2).Draw(t.T, label+" no film") == 0 {
		return matrix(t, frames, dim, anyStyles, label)
	}
	x := spec.Matrix{Rows: frames, Cols: dim, Data: make([]float32, frames*dim)}
	r := source(t, label)
	scene := make([]float32, dim)
	for f := range frames {
		moves := []float64{0, 0.01, 0.1, 0.4, 1}[r.IntN(5)]
		for i := range scene {
			if f == 0 || r.IntN(20) == 0 {
				scene[i] = float32(r.NormFloat64())
			}
			scene[i] += float32(moves * r.NormFloat64())
		}
		copy(x.Row(f), scene)
	}
	return x
}

func drawClip(t *trial, dim int) spec.Heads {
	frames, patches := size(t, 0, 5, "frames"), size(t, 1, 5, "patches")
	flat := film(t, frames, patches*dim, "clip")
	return spec.Heads{Heads: frames, Tokens: patches, Dim: dim, Stride: patches * dim, Data: flat.Data}
}

func videoProgram(t *trial, v spec.Variant) program {
	c := drawVideoConfig(t, v)
	p := program{config: c}
	for range size(t, 1, 3, "calls") {
		switch rapid.IntRange(0, 2).Draw(t.T, "call") {
		case 0:
			p.steps = append(p.steps, call(videoFramePrune, "prune_temporal", film(t, size(t, 0, 10, "frames"), c.EmbedDim, "frame_embeddings")))
		case 1:
			p.steps = append(p.steps, call(videoFramePrune, "prune_spatial", film(t, size(t, 1, 10, "patches"), c.EmbedDim, "patch_features")))
		case 2:
			p.steps = append(p.steps, call(videoFramePrune, "prune_clip", drawClip(t, c.EmbedDim)))
		}
	}
	return p
}

func videoBadSteps(t *trial, config any) (list []badStep) {
	c := config.(spec.VideoFramePruneConfig)
	d := c.EmbedDim
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	wrongs := []struct {
		what string
		x    spec.Matrix
	}{
		{"rows of one more", shaped(2, d+1)},
		{"rows of one less", shaped(2, d-1)},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: d, Data: make([]float32, 2*d-1)}},
		{"a row count too small", spec.Matrix{Rows: 1, Cols: d, Data: make([]float32, 2*d)}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -d, Data: make([]float32, 2*d)}},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: d, Data: make([]float32, d)}},
	}
	for _, v := range nonFinite {
		x := shaped(3, d)
		x.Data[rapid.IntRange(0, 3*d-1).Draw(t.T, "at")] = float32(v)
		wrongs = append(wrongs, struct {
			what string
			x    spec.Matrix
		}{"an element that is not finite", x})
	}
	for _, wrong := range wrongs {
		bad(wrong.what, call(videoFramePrune, "prune_temporal", wrong.x))
		bad(wrong.what, call(videoFramePrune, "prune_spatial", wrong.x))
		clip := spec.Heads{Heads: 1, Tokens: wrong.x.Rows, Dim: wrong.x.Cols, Stride: len(wrong.x.Data), Data: wrong.x.Data}
		if wrong.what != "a row count too small" { // a clip may have room behind a frame
			bad(wrong.what, call(videoFramePrune, "prune_clip", clip))
		}
	}
	bad("no patches", call(videoFramePrune, "prune_spatial", spec.Matrix{Cols: d}))
	bad("frames of no patches", call(videoFramePrune, "prune_clip", spec.Heads{Heads: 2, Dim: d}))
	bad("frames that overlap", call(videoFramePrune, "prune_clip", spec.Heads{Heads: 2, Tokens: 1, Dim: d, Stride: d - 1, Data: make([]float32, 2*d)}))
	bad("a negative number of frames", call(videoFramePrune, "prune_clip", spec.Heads{Heads: -1, Tokens: 1, Dim: d, Stride: d, Data: make([]float32, d)}))
	return list
}

func keptFrames(t *trial, c spec.VideoFramePruneConfig, x spec.Matrix) (kept []int) {
	t.Helper()
	t.must(open(t, t.impl.VideoFramePrune, c).PruneTemporal(&kept, x))
	return kept
}

func keptPatches(t *trial, c spec.VideoFramePruneConfig, x spec.Matrix) (kept []int) {
	t.Helper()
	t.must(open(t, t.impl.VideoFramePrune, c).PruneSpatial(&kept, x))
	return kept
}

func drawFilm(t *trial, v spec.Variant) (spec.VideoFramePruneConfig, spec.Matrix) {
	c := drawVideoConfig(t, v)
	return c, film(t, size(t, 1, 12, "frames"), c.EmbedDim, "frame_embeddings")
}

func drawPatches(t *trial, v spec.Variant) (spec.VideoFramePruneConfig, spec.Matrix) {
	c := drawVideoConfig(t, v)
	return c, film(t, size(t, 1, 12, "patches"), c.EmbedDim, "patch_features")
}

func videoMotion(t *trial) {
	c, x := drawFilm(t, spec.Documented)
	followsFrames(t, c, x, keptFrames(t, c, x))
}

func videoCosineSquish6(t *trial) {
	c, x := drawFilm(t, spec.Squish6)
	followsFrames(t, c, x, keptFrames(t, c, x))
}

func videoStill(t *trial) {
	c, x := drawFilm(t, spec.Documented)
	for f := 1; f < x.Rows; f++ {
		copy(x.Row(f), x.Row(0))
	}
	t.equal("kept", keptFrames(t, c, x), []int{0})
	t.equal("kept of no frames", keptFrames(t, c, spec.Matrix{Cols: c.EmbedDim}), []int{})
}

func videoOnline(t *trial) {
	c, x := drawFilm(t, spec.Documented)
	n := rapid.IntRange(1, x.Rows).Draw(t.T, "frames of the beginning")
	beginning := spec.Matrix{Rows: n, Cols: x.Cols, Data: x.Data[:n*x.Cols]}
	want := slices.DeleteFunc(keptFrames(t, c, x), func(f int) bool { return f >= n })
	t.equal("kept", keptFrames(t, c, beginning), want)
}

func videoRepeats(t *trial) {
	c, x := drawFilm(t, spec.Documented)
	times := size(t, 2, 3, "times")
	repeated := spec.Matrix{Rows: x.Rows * times, Cols: x.Cols}
	for f := range x.Rows {
		repeated.Data = append(repeated.Data, slices.Repeat(x.Row(f), times)...)
	}
	var want []int
	for _, f := range keptFrames(t, c, x) {
		want = append(want, f*times)
	}
	t.equal("kept", keptFrames(t, c, repeated), want)
}

func videoBrightness(t *trial) {
	c := drawVideoConfig(t, spec.Documented)
	x := matrix(t, size(t, 1, 10, "rows"), c.EmbedDim, moderateStyles, "numbers")
	y := cloneAs(x)
	k := rapid.IntRange(-30, 30).Draw(t.T, "k")
	for i, v := range x.Data {
		y.Data[i] = float32(math.Ldexp(float64(v), k))
	}
	t.equal("frames kept", keptFrames(t, c, y), keptFrames(t, c, x))
	t.equal("patches kept", keptPatches(t, c, y), keptPatches(t, c, x))
}

func videoCount(t *trial) {
	percent := rapid.SampledFrom([]int{0, 10, 25, 29, 30, 50, 57, 58, 70, 90, 99}).Draw(t.T, "percent")
	c := drawVideoConfig(t, spec.Documented)
	c.SpatialPruneRatio = float64(percent) / 100
	n := size(t, 1, 100, "patches")
	kept := keptPatches(t, c, film(t, n, c.EmbedDim, "patch_features"))
	t.equal("number kept", len(kept), n-min(percent*n/100, n-1))
	for i, p := range kept {
		t.holds(p >= 0 && p < n && (i == 0 || p > kept[i-1]), "kept %d, want patches below %d, ascending", kept, n)
	}
}

func videoEntropy(t *trial) {
	c, x := drawPatches(t, spec.Documented)
	patchRanking(c, x, t.u).isTop(t, "kept", keptPatches(t, c, x))
}

func videoNormSquish6(t *trial) {
	c, x := drawPatches(t, spec.Squish6)
	kept := keptPatches(t, c, x)
	t.equal("number kept", len(kept), max(1, int(math.Ceil(float64(x.Rows)*(1-c.SpatialPruneRatio)))))
	patchRanking(c, x, t.u).isTop(t, "kept", kept)
}

func videoShuffle(t *trial) {
	c, x := drawPatches(t, spec.Documented)
	y := cloneAs(x)
	r := source(t, "order")
	for p := range y.Rows {
		row := y.Row(p)
		r.Shuffle(len(row), func(i, j int) { row[i], row[j] = row[j], row[i] })
	}
	t.equal("kept", keptPatches(t, c, y), keptPatches(t, c, x))
}

// videoTies gives every patch the same counts, of bins of its own: elements lie in
// the middle of the bins. The ends of the range are in a patch of two bins, whose
// entropy is another.
func videoTies(t *trial) {
	c := drawVideoConfig(t, spec.Documented)
	c.EmbedDim = size(t, 3, 8, "embed_dim")
	patches := size(t, 1, 8, "patches")
	counts := []int{}
	for left := c.EmbedDim; left > 0; {
		n := rapid.IntRange(1, left).Draw(t.T, "elements in a bin")
		counts = append(counts, n)
		left -= n
	}
	r := source(t, "bins")
	x := spec.Matrix{Rows: patches + 1, Cols: c.EmbedDim}
	for range patches {
		order := r.Perm(16)
		row := []float32{}
		for i, n := range counts {
			row = append(row, slices.Repeat([]float32{float32(order[i]) + 0.5}, n)...)
		}
		r.Shuffle(len(row), func(i, j int) { row[i], row[j] = row[j], row[i] })
		x.Data = append(x.Data, row...)
	}
	ends := slices.Repeat([]float32{0}, c.EmbedDim)
	ends[0] = 16
	x.Data = append(x.Data, ends...)
	kept := keptPatches(t, c, x)
	kept = slices.DeleteFunc(kept, func(p int) bool { return p == patches })
	t.equal("patches kept of those that tie", kept, upTo(len(kept)))
}

func videoClip(t *trial) {
	c := drawVideoConfig(t, spec.Documented)
	x := drawClip(t, c.EmbedDim)
	var got spec.PrunedClip
	t.must(open(t, t.impl.VideoFramePrune, c).(spec.VideoClipPrune).PruneClip(&got, x))
	if x.Heads == 0 {
		t.equal("clip", got, spec.PrunedClip{})
		return
	}
	frames := c
	frames.EmbedDim = x.Tokens * x.Dim
	t.equal("frames", got.Frames, keptFrames(t, frames, clipFrames(x)))
	t.equal("number of frames with patches", len(got.Patches), len(got.Frames))
	kept := 0
	for i, f := range got.Frames {
		t.equal("patches", got.Patches[i], keptPatches(t, c, x.Head(f)))
		kept += len(got.Patches[i])
	}
	t.within("reduction", got.Reduction, 1-float64(kept)/float64(x.Heads*x.Tokens), 0x1p-50)
}

func videoStats(t *trial) {
	c := drawVideoConfig(t, spec.Documented)
	p := open(t, t.impl.VideoFramePrune, c)
	var want spec.VideoFramePruneStats
	clips := t.impl.OffersOperation(videoFramePrune, "prune_clip")
	for range size(t, 0, 5, "calls") {
		var kept []int
		switch rapid.IntRange(0, 2).Draw(t.T, "call") {
		case 0:
			x := film(t, size(t, 0, 8, "frames"), c.EmbedDim, "frame_embeddings")
			t.must(p.PruneTemporal(&kept, x))
			want.TemporalCalls++
			want.FramesIn += x.Rows
			want.FramesKept += len(kept)
		case 1:
			t.must(p.PruneSpatial(&kept, film(t, size(t, 1, 8, "patches"), c.EmbedDim, "patch_features")))
			want.SpatialCalls++
			want.PatchesKept += len(kept)
		case 2:
			if clips {
				x := drawClip(t, c.EmbedDim)
				var out spec.PrunedClip
				t.must(p.(spec.VideoClipPrune).PruneClip(&out, x))
				want.TemporalCalls++
				want.FramesIn += x.Heads
				want.FramesKept += len(out.Frames)
				want.SpatialCalls += len(out.Frames)
				for _, patches := range out.Patches {
					want.PatchesKept += len(patches)
				}
			}
		}
	}
	want.KeepRate = share(want.FramesKept, want.FramesIn)
	got := p.Stats()
	t.sameRate("temporal_keep_rate", got.KeepRate, want.KeepRate)
	got.KeepRate = want.KeepRate
	t.equal("stats", got, want)
}

// videoAnswer is what the rows come to, with what it was made of.
type videoAnswer struct {
	config spec.VideoFramePruneConfig
	clip   spec.Heads // a frame of patches, or one patch a frame
	kept   [][]int
}

func videoRowConfig(name spec.WorkloadName, w spec.Workload) spec.VideoFramePruneConfig {
	c := spec.DefaultVideoFramePruneConfig()
	c.Variant = rowVariant(videoFramePrune, name)
	c.EmbedDim = w.Int("embed_dim", c.EmbedDim)
	c.SimilarityThreshold = w.Float("similarity_threshold", c.SimilarityThreshold)
	c.SpatialPruneRatio = w.Float("spatial_prune_ratio", c.SpatialPruneRatio)
	return c
}

func videoTemporalRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := videoRowConfig(name, w)
	x := spec.Matrix{Rows: w.Int("frames", 1), Cols: c.EmbedDim}
	x.Data = gaussian(x.Rows*x.Cols, 23)
	p, err := impl.VideoFramePrune(c)
	answer := videoAnswer{config: c, clip: spec.Heads{Heads: x.Rows, Tokens: 1, Dim: x.Cols, Stride: x.Cols, Data: x.Data}, kept: make([][]int, 1)}
	return timing{
		calls:  1,
		call:   func(int) error { return p.PruneTemporal(&answer.kept[0], x) },
		result: func() (any, error) { return &answer, nil },
	}, err
}

// videoSpatialRow prunes the patches of a row's number of frames, one call each.
func videoSpatialRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := videoRowConfig(name, w)
	x := gaussianHeads(w.Int("frames", 1), w.Int("patches", 1), c.EmbedDim, 23)
	p, err := impl.VideoFramePrune(c)
	answer := videoAnswer{config: c, clip: x, kept: make([][]int, x.Heads)}
	return timing{
		calls: 1,
		call: func(int) error {
			for f := range x.Heads {
				if err := p.PruneSpatial(&answer.kept[f], x.Head(f)); err != nil {
					return err
				}
			}
			return nil
		},
		result: func() (any, error) { return &answer, nil },
	}, err
}

func videoSameResult(t *trial, got, want any) {
	g, w := got.(*videoAnswer), want.(*videoAnswer)
	if w.clip.Tokens == 1 {
		sameFrames(t, w.config, clipFrames(w.clip), g.kept[0], w.kept[0])
		return
	}
	for f := range w.clip.Heads {
		samePatches(t, w.config, w.clip.Head(f), g.kept[f], w.kept[f])
	}
}
