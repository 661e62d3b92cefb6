package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var longContextChunk = spec.ModuleByName("long-context-chunk")

var longContextChunkModule = &module{
	spec: longContextChunk,
	laws: map[string]func(*trial){
		"tiling":      chunkTiling,
		"lengths":     chunkLengths,
		"short":       chunkShort,
		"boundaries":  chunkBoundaries,
		"topic":       chunkTopic,
		"insensitive": chunkInsensitive,
		"constant":    chunkConstant,
		"mirror":      chunkMirror,
		"tail":        chunkTail,
		"stats":       chunkStats,
	},
	program: chunkProgram,
	badConfigs: map[string]any{
		"min_chunk_size 0":          chunkConfig(4, 0, 1, 2),
		"min_chunk_size −1":         chunkConfig(4, -1, 1, 2),
		"max_chunk_size 0":          chunkConfig(0, 1, 1, 2),
		"max_chunk_size = min":      chunkConfig(4, 4, 1, 2),
		"max_chunk_size below min":  chunkConfig(4, 5, 1, 2),
		"boundary_sensitivity 0":    chunkConfig(4, 2, 0, 2),
		"boundary_sensitivity −1":   chunkConfig(4, 2, -1, 2),
		"boundary_sensitivity NaN":  chunkConfig(4, 2, math.NaN(), 2),
		"boundary_sensitivity +Inf": chunkConfig(4, 2, math.Inf(1), 2),
		"embed_dim 0":               chunkConfig(4, 2, 1, 0),
		"embed_dim −2":              chunkConfig(4, 2, 1, -2),
		"embed_dim beyond 2³⁰":      chunkConfig(4, 2, 1, 1<<30+1),
	},
	badSteps: chunkBadSteps,
	equal: map[string]comparison{
		"chunk": func(t *trial, config any, args []any, got, want any) {
			sameChunks(t, config.(spec.LongContextChunkConfig), args[0].(spec.Matrix), *got.(*[]spec.Chunk), *want.(*[]spec.Chunk))
		},
	},
	rows: []row{
		{"long-context-chunk/chunk-2048", chunkRow, chunkSameResult},
		{"long-context-chunk/chunk-256", chunkRow, chunkSameResult},
	},
}

func chunkConfig(longest, shortest int, sensitivity float64, dim int) spec.LongContextChunkConfig {
	return spec.LongContextChunkConfig{MaxChunkSize: longest, MinChunkSize: shortest, BoundarySensitivity: sensitivity, EmbedDim: dim}
}

// chunked is a config and the argument of one Chunk.
type chunked struct {
	config spec.LongContextChunkConfig
	x      spec.Matrix
}

func (c chunked) step() step { return call(longContextChunk, "chunk", c.x) }

// chunks returns the chunks of a new instance.
func (c chunked) chunks(t *trial) []spec.Chunk {
	t.Helper()
	return c.chunksOf(t, open(t, t.impl.LongContextChunk, c.config))
}

func (c chunked) chunksOf(t *trial, l spec.LongContextChunk) (out []spec.Chunk) {
	t.Helper()
	t.must(l.Chunk(&out, c.x))
	return out
}

func drawChunkConfig(t *trial) spec.LongContextChunkConfig {
	shortest := size(t, 1, 6, "min_chunk_size")
	return chunkConfig(shortest+size(t, 1, 20, "max − min"), shortest,
		rapid.SampledFrom([]float64{1, 0.5, 2, 0.1, 1.5, 3}).Draw(t.T, "boundary_sensitivity"), size(t, 1, 6, "embed_dim"))
}

// drawChunked draws embeddings of any style, or of topics: runs of tokens about a
// common vector.
func drawChunked(t *trial) chunked { return drawChunkedOf(t, drawChunkConfig(t)) }

func drawChunkedOf(t *trial, c spec.LongContextChunkConfig) chunked {
	tokens := size(t, 0, 90, "tokens")
	if rapid.Bool().Draw(t.T, "no topics") {
		return chunked{c, matrix(t, tokens, c.EmbedDim, anyStyles, "token_embeddings")}
	}
	r := source(t, "topics")
	x := spec.Matrix{Rows: tokens, Cols: c.EmbedDim, Data: make([]float32, tokens*c.EmbedDim)}
	topic := make([]float32, c.EmbedDim)
	for token := range tokens {
		if token == 0 || r.IntN(12) == 0 {
			for i := range topic {
				topic[i] = float32(r.NormFloat64())
			}
		}
		for i := range topic {
			x.Row(token)[i] = topic[i] + float32(0.1*r.NormFloat64())
		}
	}
	return chunked{c, x}
}

func chunkProgram(t *trial, _ spec.Variant) program {
	first := drawChunked(t)
	p := program{config: first.config, steps: []step{first.step()}}
	for range size(t, 0, 2, "more calls") {
		p.steps = append(p.steps, drawChunkedOf(t, first.config).step())
	}
	return p
}

func chunkBadSteps(t *trial, config any) []badStep {
	c := config.(spec.LongContextChunkConfig)
	d := c.EmbedDim
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	spoiled := func(rows int, v float64) spec.Matrix {
		x := shaped(rows, d)
		x.Data[rapid.IntRange(0, rows*d-1).Draw(t.T, "at")] = float32(v)
		return x
	}
	long := c.MaxChunkSize + 1 + size(t, 0, 9, "tokens above max")
	var list []badStep
	for _, wrong := range []struct {
		what string
		x    spec.Matrix
	}{
		{"rows of one more", shaped(2, d+1)},
		{"rows of one less", shaped(2, d-1)},
		{"no rows of one more", spec.Matrix{Cols: d + 1}},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: d, Data: make([]float32, 2*d-1)}},
		{"a row count too small", spec.Matrix{Rows: 1, Cols: d, Data: make([]float32, 2*d)}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -d, Data: make([]float32, 2*d)}},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: d, Data: make([]float32, d)}},
		{"countless empty rows", spec.Matrix{Rows: math.MaxInt}},
		{"a NaN in one chunk", spoiled(1, math.NaN())},
		{"+Inf in one chunk", spoiled(1, math.Inf(1))},
		{"a NaN", spoiled(long, math.NaN())},
		{"+Inf", spoiled(long, math.Inf(1))},
		{"−Inf", spoiled(long, math.Inf(-1))},
	} {
		list = append(list, badStep{wrong.what, call(longContextChunk, "chunk", wrong.x), spec.Invalid})
	}
	return list
}

// A boundary is what is known of the place before a window.
type boundary int

const (
	noCandidate boundary = iota
	candidate
	perhaps // too near the sensitivity to tell
)

// boundaries computes distances anew and tells which windows may begin a chunk:
// element i is of the place before window i+1.
func (c chunked) boundaries(u float64) []boundary {
	shortest := c.config.MinChunkSize
	if c.x.Rows <= c.config.MaxChunkSize || c.x.Rows/shortest < 2 {
		return nil
	}
	const smoothing = 1e-10
	var distances []float64
	var before []float64
	cancelled := 1.0
	for w := range c.x.Rows / shortest {
		mean := make([]float64, c.x.Cols)
		var squares, magnitudes neumaier
		for i := range mean {
			var sum, magnitude neumaier
			for token := w * shortest; token < (w+1)*shortest; token++ {
				v := float64(c.x.Row(token)[i])
				sum.add(v)
				magnitude.add(math.Abs(v))
			}
			mean[i] = sum.total() / float64(shortest)
			squares.add(mean[i] * mean[i])
			magnitudes.add(math.Pow(magnitude.total()/float64(shortest), 2))
		}
		norm := math.Sqrt(squares.total()) + smoothing
		cancelled = max(cancelled, (math.Sqrt(magnitudes.total())+smoothing)/norm)
		for i := range mean {
			mean[i] /= norm
		}
		if before != nil {
			var cos neumaier
			for i := range mean {
				cos.add(mean[i] * before[i])
			}
			distances = append(distances, 1-cos.total())
		}
		before = mean
	}

	var sum, squares neumaier
	for _, d := range distances {
		sum.add(d)
	}
	mean := sum.total() / float64(len(distances))
	for _, d := range distances {
		squares.add((d - mean) * (d - mean))
	}
	std := math.Sqrt(squares.total() / float64(len(distances)))

	const least = 1e-10 // below, distances are taken for equal
	e := 4 * u * float64(c.x.Cols+shortest+16) * cancelled
	s := c.config.BoundarySensitivity
	margin := 0x1p-20*s + 4*e*(1+s)/std
	list := make([]boundary, len(distances))
	for i, d := range distances {
		switch z := (d - mean) / std; {
		case math.Abs(std-least) <= 2*e:
			list[i] = perhaps
		case std < least:
		case math.Abs(z-s) <= margin:
			list[i] = perhaps
		case z > s:
			list[i] = candidate
		}
	}
	return list
}

// neumaier adds numbers and the error of each addition (Neumaier 1974).
type neumaier struct{ sum, lost float64 }

func (n *neumaier) add(v float64) {
	sum := n.sum + v
	if math.Abs(n.sum) >= math.Abs(v) {
		n.lost += (n.sum - sum) + v
	} else {
		n.lost += (v - sum) + n.sum
	}
	n.sum = sum
}

func (n *neumaier) total() float64 { return n.sum + n.lost }

// follows asserts that every chunk ends where its start and the boundaries say.
func (c chunked) follows(t *trial, list []boundary, chunks []spec.Chunk) {
	t.Helper()
	c.tiles(t, chunks)
	for i, chunk := range chunks {
		last := min(chunk.Start+c.config.MaxChunkSize, c.x.Rows)
		allowed := []int{}
		for w, b := range list {
			place := (w + 1) * c.config.MinChunkSize
			if b == noCandidate || place < chunk.Start+c.config.MinChunkSize || place >= last {
				continue
			}
			allowed = append(allowed, place)
			if b == candidate {
				last = place
			}
		}
		t.holds(chunk.End == last || slices.Contains(allowed, chunk.End),
			"chunk %d begins at %d and ends at %d, want %d, or where a candidate is too near to tell: %d", i, chunk.Start, chunk.End, last, allowed)
	}
}

func (c chunked) tiles(t *trial, chunks []spec.Chunk) {
	t.Helper()
	end := 0
	for i, chunk := range chunks {
		t.holds(chunk.Start == end && chunk.End > chunk.Start, "chunk %d is %d … %d, want it to begin at %d and not to be empty", i, chunk.Start, chunk.End, end)
		end = chunk.End
	}
	t.holds(end == c.x.Rows, "the last chunk ends at %d, want %d", end, c.x.Rows)
}

// sameChunks compares chunks, of which none may depend on a boundary that is too
// near to tell; where one is, both must only follow the boundaries.
func sameChunks(t *trial, config spec.LongContextChunkConfig, x spec.Matrix, got, want []spec.Chunk) {
	t.Helper()
	c := chunked{config, x}
	if list := c.boundaries(t.u); slices.Contains(list, perhaps) {
		c.follows(t, list, got)
		return
	}
	t.equal("chunks", got, want)
}

func chunkTiling(t *trial) {
	c := drawChunked(t)
	c.tiles(t, c.chunks(t))
}

func chunkLengths(t *trial) {
	c := drawChunked(t)
	chunks := c.chunks(t)
	for i, chunk := range chunks {
		n := chunk.End - chunk.Start
		t.holds(n <= c.config.MaxChunkSize, "chunk %d has %d tokens, more than %d", i, n, c.config.MaxChunkSize)
		t.holds(n >= c.config.MinChunkSize || i == len(chunks)-1, "chunk %d of %d has %d tokens, less than %d", i, len(chunks), n, c.config.MinChunkSize)
	}
	t.holds(len(chunks) > 0 || c.x.Rows == 0, "%d tokens have no chunk", c.x.Rows)
}

func chunkShort(t *trial) {
	c := drawChunked(t)
	n := min(c.x.Rows, size(t, 0, c.config.MaxChunkSize, "tokens kept"))
	c.x = spec.Matrix{Rows: n, Cols: c.x.Cols, Data: c.x.Data[:n*c.x.Cols]}
	want := []spec.Chunk{{End: n}}
	t.equal("chunks", c.chunks(t), want[:min(n, 1)])
}

func chunkBoundaries(t *trial) {
	c := drawChunked(t)
	c.follows(t, c.boundaries(t.u), c.chunks(t))
}

// twoTopics are windows along one axis and then along another, the lengths of the
// tokens not all the same; there are at least two distances.
func twoTopics(t *trial) (c chunked, cut, distances int) {
	c.config = drawChunkConfig(t)
	c.config.EmbedDim++
	shortest := c.config.MinChunkSize
	windows := max(c.config.MaxChunkSize/shortest, 2) + size(t, 1, 8, "windows")
	first := size(t, 1, windows-1, "windows of the first topic")
	c.x = spec.Matrix{Rows: windows * shortest, Cols: c.config.EmbedDim}
	c.x.Data = make([]float32, c.x.Rows*c.x.Cols)
	r := source(t, "lengths")
	for token := range c.x.Rows {
		axis := 0
		if token >= first*shortest {
			axis = c.config.EmbedDim - 1
		}
		c.x.Row(token)[axis] = float32(1 + r.Float64())
	}
	return c, first * shortest, windows - 1
}

func chunkTopic(t *trial) {
	c, cut, m := twoTopics(t)
	limit := math.Sqrt(float64(m - 1))
	heard := rapid.Bool().Draw(t.T, "heard")
	factor := 1 + 0x1p-10
	if heard {
		factor = rapid.SampledFrom([]float64{1 - 0x1p-10, 0.5, 0.1}).Draw(t.T, "share of √(m−1)")
	}
	c.config.BoundarySensitivity = limit * factor
	list := make([]boundary, m)
	if heard {
		list[cut/c.config.MinChunkSize-1] = candidate
	}
	c.follows(t, list, c.chunks(t))
}

func chunkInsensitive(t *trial) {
	c := drawChunked(t)
	m := max(c.x.Rows/c.config.MinChunkSize-1, 2)
	c.config.BoundarySensitivity = math.Sqrt(float64(m-1)) * (1 + 0x1p-10)
	c.follows(t, nil, c.chunks(t))
}

func chunkConstant(t *trial) {
	c := drawChunked(t)
	c.config.BoundarySensitivity = rapid.SampledFrom([]float64{c.config.BoundarySensitivity, 0x1p-20, 0x1p-1000}).Draw(t.T, "sensitivity")
	token := numbers(t, c.config.EmbedDim, moderateStyles, "token")
	for i := range c.x.Rows {
		copy(c.x.Row(i), token)
	}
	c.follows(t, nil, c.chunks(t))
}

func chunkMirror(t *trial) {
	c := drawChunked(t)
	mirrored := chunked{c.config, cloneAs(c.x)}
	order := source(t, "order").Perm(c.config.EmbedDim)
	for token := range c.x.Rows {
		for to, from := range order {
			mirrored.x.Row(token)[to] = -c.x.Row(token)[from]
		}
	}
	sameChunks(t, c.config, c.x, mirrored.chunks(t), c.chunks(t))
}

func chunkTail(t *trial) {
	c := drawChunked(t)
	other := chunked{c.config, cloneAs(c.x)}
	tail := other.x.Data[(c.x.Rows-c.x.Rows%c.config.MinChunkSize)*c.x.Cols:]
	copy(tail, numbers(t, len(tail), anyStyles, "tail"))
	t.equal("chunks", other.chunks(t), c.chunks(t))
}

func chunkStats(t *trial) {
	config := drawChunkConfig(t)
	l := open(t, t.impl.LongContextChunk, config)
	var want spec.LongContextChunkStats
	for range size(t, 0, 4, "calls") {
		c := drawChunkedOf(t, config)
		want.Chunks += len(c.chunksOf(t, l))
		want.Calls++
		want.Tokens += c.x.Rows
	}
	if want.Chunks > 0 {
		want.AverageSize = float64(want.Tokens) / float64(want.Chunks)
	}
	got := l.Stats()
	t.within("avg_chunk_size", got.AverageSize, want.AverageSize, 0x1p-50*want.AverageSize)
	got.AverageSize = want.AverageSize
	t.equal("stats", got, want)
}

// chunkAnswer is what the rows come to, with what it was made of.
type chunkAnswer struct {
	made   chunked
	chunks []spec.Chunk
}

func chunkRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultLongContextChunkConfig()
	c.MaxChunkSize = w.Int("max_chunk", c.MaxChunkSize)
	c.MinChunkSize = w.Int("min_chunk", c.MinChunkSize)
	c.BoundarySensitivity = w.Float("sensitivity", c.BoundarySensitivity)
	c.EmbedDim = w.Int("embed_dim", c.EmbedDim)
	x := spec.Matrix{Rows: w.Int("seq", 1), Cols: c.EmbedDim}
	x.Data = gaussian(x.Rows*x.Cols, 23)
	l, err := impl.LongContextChunk(c)
	answer := chunkAnswer{made: chunked{c, x}}
	return timing{
		calls:  1,
		call:   func(int) error { return l.Chunk(&answer.chunks, x) },
		result: func() (any, error) { return &answer, nil },
	}, err
}

func chunkSameResult(t *trial, got, want any) {
	g, w := got.(*chunkAnswer), want.(*chunkAnswer)
	sameChunks(t, w.made.config, w.made.x, g.chunks, w.chunks)
}
