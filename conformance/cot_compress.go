package conformance

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var cotCompress = spec.ModuleByName("cot-compress")

var cotCompressModule = &module{
	spec: cotCompress,
	laws: map[string]func(*trial){
		"subsequence":    cotSubsequence,
		"count":          cotCount,
		"saliency":       cotMostSalient,
		"identity":       cotIdentity,
		"nested":         cotNested,
		"renaming":       cotRenaming,
		"ties":           cotTies,
		"query":          cotQuery,
		"stats":          cotStats,
		"rarest-squish6": cotRarestSquish6,
		"count-squish6":  cotCountSquish6,
	},
	program: cotProgram,
	badConfigs: map[string]any{
		"an unknown variant":  cotConfig(func(c *spec.CotCompressConfig) { c.Variant = "squish7" }),
		"compress_ratio 1":    cotConfig(func(c *spec.CotCompressConfig) { c.CompressRatio = 1 }),
		"compress_ratio −0.1": cotConfig(func(c *spec.CotCompressConfig) { c.CompressRatio = -0.1 }),
		"compress_ratio NaN":  cotConfig(func(c *spec.CotCompressConfig) { c.CompressRatio = math.NaN() }),
		"compress_ratio −Inf": cotConfig(func(c *spec.CotCompressConfig) { c.CompressRatio = math.Inf(-1) }),
		"min_tokens 0":        cotConfig(func(c *spec.CotCompressConfig) { c.MinTokens = 0 }),
		"min_tokens −1":       cotConfig(func(c *spec.CotCompressConfig) { c.MinTokens = -1 }),
		"step_tokens 0":       cotConfig(func(c *spec.CotCompressConfig) { c.StepTokens = 0 }),
		"step_tokens −16":     cotConfig(func(c *spec.CotCompressConfig) { c.StepTokens = -16 }),
		"alpha −0.1":          cotConfig(func(c *spec.CotCompressConfig) { c.Alpha = -0.1 }),
		"alpha 1.1":           cotConfig(func(c *spec.CotCompressConfig) { c.Alpha = 1.1 }),
		"alpha NaN":           cotConfig(func(c *spec.CotCompressConfig) { c.Alpha = math.NaN() }),
		"smoothing 0":         cotConfig(func(c *spec.CotCompressConfig) { c.Smoothing = 0 }),
		"smoothing −1e-9":     cotConfig(func(c *spec.CotCompressConfig) { c.Smoothing = -1e-9 }),
		"smoothing NaN":       cotConfig(func(c *spec.CotCompressConfig) { c.Smoothing = math.NaN() }),
		"smoothing +Inf":      cotConfig(func(c *spec.CotCompressConfig) { c.Smoothing = math.Inf(1) }),
	},
	badSteps: cotBadSteps,
	equal: map[string]comparison{
		"compress": sameKept,
		"stats": func(t *trial, _ any, _ []any, got, want any) {
			sameCotStats(t, *got.(*spec.CotCompressStats), *want.(*spec.CotCompressStats))
		},
	},
	rows: []row{
		{"cot-compress/compress-256", cotRow, sameCotRow},
		{"cot-compress/compress-64", cotRow, sameCotRow},
	},
}

// cotConfig is the default config with a change.
func cotConfig(change func(*spec.CotCompressConfig)) spec.CotCompressConfig {
	c := spec.DefaultCotCompressConfig()
	change(&c)
	return c
}

// A cotRowResult is a row's answer and what it was asked.
type cotRowResult struct {
	config spec.CotCompressConfig
	tokens []int64
	kept   []int64
}

// cotRow compresses without a query. The harness's ids are uniform in the
// vocabulary, so that hardly one comes twice and all saliencies are level; the
// page's come the rarer the higher they are (Zipf), as tokens do.
func cotRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultCotCompressConfig()
	c.Variant = rowVariant(cotCompress, name)
	c.CompressRatio = w.Float("compress_ratio", c.CompressRatio)
	c.MinTokens = w.Int("min_tokens", c.MinTokens)
	r := rand.New(rand.NewPCG(23, 0x5eed))
	out := &cotRowResult{config: c, tokens: make([]int64, w.Int("tokens", 256))}
	vocab := w.Int("vocab", 32000)
	for i := range out.tokens {
		if name == spec.HarnessWorkload {
			out.tokens[i] = r.Int64N(int64(vocab))
		} else {
			out.tokens[i] = int64(math.Pow(float64(vocab), r.Float64())) - 1
		}
	}
	cot, err := impl.CotCompress(c)
	return timing{
		calls:  1,
		call:   func(int) error { return cot.Compress(&out.kept, out.tokens, nil) },
		result: func() (any, error) { return out, nil },
	}, err
}

func sameCotRow(t *trial, got, want any) {
	t.Helper()
	g, w := got.(*cotRowResult), want.(*cotRowResult)
	sameKept(t, w.config, []any{w.tokens, []int64(nil)}, &g.kept, &w.kept)
}

func drawCotConfig(t *trial, v spec.Variant) spec.CotCompressConfig {
	c := spec.CotCompressConfig{
		Variant:       v,
		CompressRatio: float64(rapid.IntRange(0, 99).Draw(t.T, "ratio in hundredths")) / 100,
		MinTokens:     rapid.SampledFrom([]int{1, 2, 4, 16}).Draw(t.T, "min_tokens"),
		StepTokens:    size(t, 1, 8, "step_tokens"),
		Alpha:         rapid.SampledFrom([]float64{0.5, 0.25, 0.9, 0, 1}).Draw(t.T, "alpha"),
		Smoothing:     rapid.SampledFrom([]float64{1e-9, 1e-3, 1}).Draw(t.T, "smoothing"),
	}
	if rapid.Bool().Draw(t.T, "separators") {
		c.Separators = rapid.SliceOfN(rapid.SampledFrom(cotVocabulary[:4]), 1, 2).Draw(t.T, "separators")
	}
	return c
}

// cotVocabulary are ids of every kind, the plain ones first.
var cotVocabulary = []int64{10, 11, 12, 13, 0, -1, math.MaxInt64, math.MinInt64, 1 << 40, 31999, 14, 15}

// drawCotTokens draws a trace of few ids, which come often, or of many.
func drawCotTokens(t *trial, n int, label string) []int64 {
	ids := rapid.Int64Range(0, 400)
	if rapid.IntRange(0, 3).Draw(t.T, label+" of many ids") > 0 {
		ids = rapid.SampledFrom(cotVocabulary[:size(t, 1, len(cotVocabulary), label+" vocabulary")])
	}
	return rapid.SliceOfN(ids, n, n).Draw(t.T, label)
}

func drawCotTrace(t *trial) []int64 { return drawCotTokens(t, size(t, 1, 40, "tokens"), "token_ids") }

// drawCotQuery draws a query, mostly of tokens of the trace, or nil for none.
func drawCotQuery(t *trial, tokens []int64) []int64 {
	if rapid.IntRange(0, 2).Draw(t.T, "query") == 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(append([]int64{999}, tokens...)), 0, 5).Draw(t.T, "query_ids")
}

func cotProgram(t *trial, v spec.Variant) program {
	p := program{config: drawCotConfig(t, v)}
	for range size(t, 1, 3, "calls") {
		tokens := drawCotTrace(t)
		p.steps = append(p.steps, call(cotCompress, "compress", tokens, drawCotQuery(t, tokens)))
	}
	return p
}

func cotBadSteps(t *trial, _ any) []badStep {
	return []badStep{
		{"no tokens", call(cotCompress, "compress", []int64(nil), []int64(nil)), spec.Invalid},
		{"an empty trace", call(cotCompress, "compress", []int64{}, []int64{}), spec.Invalid},
		{"a query but no tokens", call(cotCompress, "compress", []int64{}, drawCotTrace(t)), spec.Invalid},
	}
}

// compressed compresses with a new instance. Of a trace at least one token is
// kept and at most all.
func compressed(t *trial, c spec.CotCompressConfig, tokens, query []int64) []int64 {
	t.Helper()
	var kept []int64
	t.must(open(t, t.impl.CotCompress, c).Compress(&kept, tokens, query))
	if len(kept) < 1 || len(kept) > len(tokens) {
		t.fail(t.symptom, "got %d tokens of %d", len(kept), len(tokens))
	}
	return kept
}

// sameKept compares what was kept: exactly as squish6, else but for tokens whose
// saliency is at the cut.
func sameKept(t *trial, config any, args []any, got, want any) {
	t.Helper()
	c := config.(spec.CotCompressConfig)
	g, w := *got.(*[]int64), *want.(*[]int64)
	if c.Variant == spec.Squish6 || slices.Equal(g, w) {
		t.equal("kept", g, w)
		return
	}
	t.equal("number of kept tokens", len(g), len(w))
	keepsMostSalient(t, c, args[0].([]int64), args[1].([]int64), g)
}

func sameCotStats(t *trial, got, want spec.CotCompressStats) {
	t.Helper()
	t.within("avg_compression_ratio", got.Ratio, want.Ratio, 2*recordedMean)
	got.Ratio = want.Ratio
	t.equal("stats", got, want)
}

// cotCounts are what the saliency of a position depends on, beside n and the
// number of steps.
type cotCounts struct {
	count int  // of its token in the trace
	df    int  // steps that have it
	tf    int  // of its token in its step
	dl    int  // tokens of its step
	asked bool // its token is in the query
}

// countCot counts anew for every position, token by token.
func countCot(c spec.CotCompressConfig, tokens, query []int64) (counts []cotCounts, steps int) {
	stepOf := make([]int, len(tokens))
	for i := range tokens[1:] {
		ends := (i+1)%c.StepTokens == 0
		if len(c.Separators) > 0 {
			ends = slices.Contains(c.Separators, tokens[i])
		}
		stepOf[i+1] = stepOf[i]
		if ends {
			stepOf[i+1]++
		}
	}
	counts = make([]cotCounts, len(tokens))
	for i, token := range tokens {
		own := &counts[i]
		own.asked = slices.Contains(query, token)
		having := map[int]bool{}
		for j, other := range tokens {
			if stepOf[j] == stepOf[i] {
				own.dl++
			}
			if other == token {
				own.count++
				having[stepOf[j]] = true
				if stepOf[j] == stepOf[i] {
					own.tf++
				}
			}
		}
		own.df = len(having)
	}
	return counts, stepOf[len(tokens)-1] + 1
}

// cotSaliency is the documented saliency of every position, from brute-force
// counts.
func cotSaliency(c spec.CotCompressConfig, tokens, query []int64) []float64 {
	counts, numSteps := countCot(c, tokens, query)
	n := float64(len(tokens))
	relevance, information := make([]float64, len(tokens)), make([]float64, len(tokens))
	for i, own := range counts {
		relevance[i] = termCount{tf: own.tf, df: own.df, dl: own.dl, docs: numSteps, mean: n / float64(numSteps)}.weight()
		if own.asked {
			relevance[i] *= 2
		}
		information[i] = math.Log2(n / float64(own.count))
	}
	toUnit(relevance)
	toUnit(information)
	saliency := make([]float64, len(tokens))
	for i := range saliency {
		saliency[i] = information[i] + c.Alpha*(relevance[i]-information[i])
	}
	return saliency
}

// toUnit scales a component to [0, 1], a constant one to 0.
func toUnit(component []float64) {
	low, high := slices.Min(component), slices.Max(component)
	if high-low <= 1e-6*max(math.Abs(low), math.Abs(high)) {
		clear(component)
		return
	}
	for i, x := range component {
		component[i] = (x - low) / (high - low)
	}
}

// cotMargin is how far from the cut a saliency may be and yet be on its other
// side.
func cotMargin(t *trial) float64 { return 0x1p-30 * max(1, t.u*0x1p24) }

// cotCut is the least of the highest saliencies, so many as are kept.
func cotCut(saliency []float64, kept int) float64 {
	ascending := slices.Sorted(slices.Values(saliency))
	return ascending[len(ascending)-kept]
}

// keepsMostSalient asserts that some choice of positions gives the kept tokens,
// has every position above the cut and none below it.
func keepsMostSalient(t *trial, c spec.CotCompressConfig, tokens, query, kept []int64) {
	t.Helper()
	saliency := cotSaliency(c, tokens, query)
	cut, margin := cotCut(saliency, len(kept)), cotMargin(t)
	must := func(i int) bool { return saliency[i] > cut+margin }
	may := func(i int) bool { return saliency[i] >= cut-margin }
	var above, level []int64
	for i, token := range tokens {
		if must(i) {
			above = append(above, token)
		} else if may(i) {
			level = append(level, token)
		}
	}
	t.holds(isChoice(tokens, kept, must, may), "got %s, want in their order all of %s, whose saliency is above %.9g, and only some of %s, which are at it",
		describeIDs(kept), describeIDs(above), cut, describeIDs(level))
}

func describeIDs(ids []int64) string { return describeValue(reflect.ValueOf(ids)) }

// isChoice reports whether kept are the tokens at some positions, in their order,
// among them all that must be there and beside them only such as may.
func isChoice(tokens, kept []int64, must, may func(position int) bool) bool {
	// reached[k]: the first k of kept can be the choice from the positions so far.
	reached := make([]bool, len(kept)+1)
	reached[0] = true
	for i, token := range tokens {
		for k := len(kept); k >= 0; k-- {
			reached[k] = reached[k] && !must(i) || k > 0 && reached[k-1] && may(i) && kept[k-1] == token
		}
	}
	return reached[len(kept)]
}

func always(int) bool { return true }
func never(int) bool  { return false }

func isSubsequence(kept, tokens []int64) bool { return isChoice(tokens, kept, never, always) }

func cotSubsequence(t *trial) {
	tokens := drawCotTrace(t)
	kept := compressed(t, drawCotConfig(t, spec.Documented), tokens, drawCotQuery(t, tokens))
	t.holds(isSubsequence(kept, tokens), "got %s, which is no subsequence of %s", describeIDs(kept), describeIDs(tokens))
}

// cotCount takes ratios in hundredths, of which the drop is a quotient of
// integers. As float64 0.29·100, 0.57·100 and 0.58·100 lie below the product.
func cotCount(t *trial) {
	c := drawCotConfig(t, spec.Documented)
	hundredths, n := rapid.IntRange(0, 99).Draw(t.T, "hundredths"), size(t, 1, 64, "tokens")
	if rapid.IntRange(0, 3).Draw(t.T, "trap") == 0 {
		hundredths, n = rapid.SampledFrom([]int{29, 57, 58}).Draw(t.T, "hundredths"), 100
	}
	c.CompressRatio = float64(hundredths) / 100
	tokens := drawCotTokens(t, n, "token_ids")
	kept := compressed(t, c, tokens, drawCotQuery(t, tokens))
	t.equal("number of kept tokens", len(kept), min(n, max(c.MinTokens, n-hundredths*n/100)))
}

func cotMostSalient(t *trial) {
	c, tokens := drawCotConfig(t, spec.Documented), drawCotTrace(t)
	query := drawCotQuery(t, tokens)
	keepsMostSalient(t, c, tokens, query, compressed(t, c, tokens, query))
}

func cotIdentity(t *trial) {
	c, tokens := drawCotConfig(t, spec.Documented), drawCotTrace(t)
	if rapid.Bool().Draw(t.T, "ratio 0") {
		c.CompressRatio = 0
	} else {
		c.MinTokens = len(tokens) + size(t, 0, 2, "more than the tokens")
	}
	t.equal("kept", compressed(t, c, tokens, drawCotQuery(t, tokens)), tokens)
}

func cotNested(t *trial) {
	c, tokens := drawCotConfig(t, spec.Documented), drawCotTrace(t)
	query := drawCotQuery(t, tokens)
	c.MinTokens = 1
	hundredths := rapid.SliceOfN(rapid.IntRange(0, 99), 2, 8).Draw(t.T, "ratios in hundredths")
	slices.Sort(hundredths)
	more := tokens
	for _, h := range hundredths {
		c.CompressRatio = float64(h) / 100
		less := compressed(t, c, tokens, query)
		t.holds(isSubsequence(less, more), "at ratio %v got %s, want a subsequence of %s, which the ratio before keeps",
			c.CompressRatio, describeIDs(less), describeIDs(more))
		more = less
	}
}

func cotRenaming(t *trial) {
	c, tokens := drawCotConfig(t, spec.Documented), drawCotTrace(t)
	query := drawCotQuery(t, tokens)
	names := map[int64]int64{}
	for _, id := range slices.Concat(tokens, query, c.Separators) {
		names[id] = 0
	}
	old := slices.Sorted(maps.Keys(names))
	for i, j := range source(t, "names").Perm(len(old)) {
		names[old[i]] = 1000 - 7*int64(j)
	}
	rename := func(ids []int64) (renamed []int64) {
		for _, id := range ids {
			renamed = append(renamed, names[id])
		}
		return renamed
	}
	kept := compressed(t, c, tokens, query)
	c.Separators = rename(c.Separators)
	t.equal("kept of the renamed trace", compressed(t, c, rename(tokens), rename(query)), rename(kept))
}

// cotTies compresses steps of the same tokens, partly their own and partly those
// of all steps, in any order. Only a few kinds of position are left, so that a
// kind is cut in two; its earliest are expected, found by the saliency counted
// anew. Kinds that are level by chance are left out.
func cotTies(t *trial) {
	c := drawCotConfig(t, spec.Documented)
	own, common := size(t, 0, 4, "own tokens of a step"), size(t, 0, 4, "tokens of all steps")
	if own+common == 0 {
		own = 1
	}
	times := size(t, 1, 2, "times")
	c.Separators, c.StepTokens, c.MinTokens = nil, (own+common)*times, 1
	order := source(t, "order")
	var tokens []int64
	for s := range size(t, 1, 6, "steps") {
		var step []int64
		for range times {
			for i := range own {
				step = append(step, int64(100*(s+1)+i))
			}
			for i := range common {
				step = append(step, int64(i))
			}
		}
		order.Shuffle(len(step), func(i, j int) { step[i], step[j] = step[j], step[i] })
		tokens = append(tokens, step...)
	}
	query := rapid.SampledFrom([][]int64{nil, {0}, {0, 100}}).Draw(t.T, "query_ids")

	kept := compressed(t, c, tokens, query)
	saliency := cotSaliency(c, tokens, query)
	if !cutsOneKind(c, tokens, query, saliency, len(kept), cotMargin(t)) {
		return
	}
	ranking := make([]int, len(tokens))
	for i := range ranking {
		ranking[i] = i
	}
	slices.SortStableFunc(ranking, func(i, j int) int { return cmp.Compare(saliency[j], saliency[i]) })
	var want []int64
	for _, i := range slices.Sorted(slices.Values(ranking[:len(kept)])) {
		want = append(want, tokens[i])
	}
	t.equal("kept", kept, want)
}

// cutsOneKind reports whether all positions whose saliency is within margin of
// the cut have the same counts: rounding cannot swap them.
func cutsOneKind(c spec.CotCompressConfig, tokens, query []int64, saliency []float64, kept int, margin float64) bool {
	cut := cotCut(saliency, kept)
	counts, _ := countCot(c, tokens, query)
	at := counts[slices.Index(saliency, cut)]
	for i, s := range saliency {
		if math.Abs(s-cut) <= margin && counts[i] != at {
			return false
		}
	}
	return true
}

// cotQuery asks for one token more, and counts how often it is kept.
func cotQuery(t *trial) {
	c, tokens := drawCotConfig(t, spec.Documented), drawCotTrace(t)
	query := drawCotQuery(t, tokens)
	asked := rapid.SampledFrom(tokens).Draw(t.T, "asked for")
	query = slices.DeleteFunc(query, func(id int64) bool { return id == asked })
	occurrences := func(query []int64) (kept int, oneKind bool) {
		list := compressed(t, c, tokens, query)
		for _, token := range list {
			if token == asked {
				kept++
			}
		}
		margin := max(0x1p-20, cotMargin(t))
		return kept, cutsOneKind(c, tokens, query, cotSaliency(c, tokens, query), len(list), margin)
	}
	before, oneKindBefore := occurrences(query)
	after, oneKindAfter := occurrences(append(query, asked))
	if oneKindBefore && oneKindAfter {
		t.holds(after >= before, "asked for %d: got it %d times, and %d times when it was not asked for", asked, after, before)
	}
}

func cotStats(t *trial) {
	cot := open(t, t.impl.CotCompress, drawCotConfig(t, spec.Documented))
	var want spec.CotCompressStats
	for range size(t, 0, 4, "calls") {
		tokens := drawCotTrace(t)
		var kept []int64
		t.must(cot.Compress(&kept, tokens, drawCotQuery(t, tokens)))
		want.Calls++
		want.TokensIn += len(tokens)
		want.TokensOut += len(kept)
		want.Ratio = float64(want.TokensIn-want.TokensOut) / float64(want.TokensIn)
	}
	sameCotStats(t, cot.Stats(), want)
}

// cotRarestSquish6 keeps a position where fewer others go before it than are
// kept: those of a lower count, and of an equal one the earlier.
func cotRarestSquish6(t *trial) {
	c, tokens := drawCotConfig(t, spec.Squish6), drawCotTrace(t)
	kept := compressed(t, c, tokens, drawCotQuery(t, tokens))
	counts, _ := countCot(c, tokens, nil)
	var want []int64
	for i, own := range counts {
		before := 0
		for j, other := range counts {
			if other.count < own.count || other.count == own.count && j < i {
				before++
			}
		}
		if before < len(kept) {
			want = append(want, tokens[i])
		}
	}
	t.equal("kept", kept, want)
}

// cotCountSquish6 takes ratios in eighths, of which float64 loses nothing.
func cotCountSquish6(t *trial) {
	c, tokens := drawCotConfig(t, spec.Squish6), drawCotTrace(t)
	eighths := rapid.IntRange(0, 7).Draw(t.T, "eighths")
	c.CompressRatio = float64(eighths) / 8
	n := len(tokens)
	stay, rest := (8-eighths)*n/8, (8-eighths)*n%8
	if rest > 4 || rest == 4 && stay%2 == 1 {
		stay++
	}
	kept := compressed(t, c, tokens, drawCotQuery(t, tokens))
	t.equal("number of kept tokens", len(kept), min(n, max(c.MinTokens, stay)))
}
