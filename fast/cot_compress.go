package fast

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/bm25"
	"github.com/squishspec/squishspec/fast/internal/tally"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewCotCompress returns an optimised spec.CotCompress, or an error of kind
// spec.Invalid for a config out of range.
//
// Compress is linear in the trace: ids become small numbers once, all else is
// arrays of them, and the cut is selected, not sorted for. Equal saliencies come
// from equal arithmetic, so that ties are the formula's.
func NewCotCompress(config spec.CotCompressConfig) (spec.CotCompress, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.Separators = slices.Clone(config.Separators)
	return &cotCompress{config: config}, nil
}

type cotCompress struct {
	config spec.CotCompressConfig
	stats  spec.CotCompressStats

	// Scratch, of the trace at hand.
	ids      tally.Tally
	number   []int     // of each position's token
	saliency []float64 // of each position
	ranking  []float64 // the saliencies, reordered by the selection
	terms    []cotTerm // by number
	steps    []int     // where each step ends
	tf       []int     // of each position's token in its step
	byDF     []float64 // idf
	byCount  []float64 // information, scaled
}

// A cotTerm is what is known of a distinct token.
type cotTerm struct {
	separates bool
	asked     bool // the query has it
	step      int  // the last step that has it, counted from 1
	tf        int  // its count in that step
	df        int  // the steps that have it
	idf       float64
	info      float64 // self-information, scaled
}

func (c *cotCompress) Compress(dst *[]int64, tokens, query []int64) error {
	n := len(tokens)
	if n == 0 {
		return spec.Reject(spec.Invalid, "cot-compress", "token_ids", "at least one token", "none")
	}
	kept := c.config.Kept(n)
	*dst = spec.Resize(*dst, kept)
	if kept == n {
		copy(*dst, tokens)
	} else {
		c.count(tokens)
		if c.config.Variant == spec.Squish6 {
			c.rarity()
		} else {
			c.relevanceAndInformation(query)
		}
		c.pick(*dst, tokens)
	}
	c.stats.Calls++
	c.stats.TokensIn += n
	c.stats.TokensOut += kept
	return nil
}

func (c *cotCompress) Stats() spec.CotCompressStats {
	stats := c.stats
	if stats.TokensIn > 0 {
		stats.Ratio = 1 - float64(stats.TokensOut)/float64(stats.TokensIn)
	}
	return stats
}

// count numbers and counts the tokens.
func (c *cotCompress) count(tokens []int64) {
	c.number = spec.Resize(c.number, len(tokens))
	c.saliency = spec.Resize(c.saliency, len(tokens))
	c.ids.Reset(len(tokens))
	c.ids.AddAll(c.number, tokens)
}

// pick copies the len(dst) tokens of highest saliency, in order, ties to the
// earliest.
func (c *cotCompress) pick(dst, tokens []int64) {
	c.ranking = append(c.ranking[:0], c.saliency...)
	cut, ties := topk.Cut(c.ranking, len(dst))
	next := 0
	for i, s := range c.saliency {
		if s < cut {
			continue
		}
		if s == cut {
			if ties == 0 {
				continue
			}
			ties--
		}
		dst[next] = tokens[i]
		next++
	}
}

// rarity orders positions as n/(count + Smoothing) does: by the count alone.
func (c *cotCompress) rarity() {
	counts := c.ids.Counts()
	for i, number := range c.number {
		c.saliency[i] = -float64(counts[number])
	}
}

// relevanceAndInformation sets the documented saliency.
func (c *cotCompress) relevanceAndInformation(query []int64) {
	c.terms = spec.Resize(c.terms, len(c.ids.Counts()))
	clear(c.terms)
	c.mark(c.config.Separators, func(t *cotTerm) { t.separates = true })
	c.mark(query, func(t *cotTerm) { t.asked = true })
	c.cutSteps()
	c.inform()
	least, most := c.relate()

	alpha, scale := c.config.Alpha, unitScale(least, most)
	for i, number := range c.number {
		c.saliency[i] = float64(alpha*scale.of(c.saliency[i])) + float64((1-alpha)*c.terms[number].info)
	}
}

func (c *cotCompress) mark(ids []int64, as func(*cotTerm)) {
	for _, id := range ids {
		if number, found := c.ids.Find(id); found {
			as(&c.terms[number])
		}
	}
}

// cutSteps cuts the trace into steps and counts each term in them.
func (c *cotCompress) cutSteps() {
	c.steps = c.steps[:0]
	c.tf = spec.Resize(c.tf, len(c.number))
	for start := 0; start < len(c.number); {
		end := c.stepEnd(start)
		c.steps = append(c.steps, end)
		for _, number := range c.number[start:end] {
			t := &c.terms[number]
			if t.step != len(c.steps) {
				t.step, t.tf = len(c.steps), 0
				t.df++
			}
			t.tf++
		}
		for i, number := range c.number[start:end] {
			c.tf[start+i] = c.terms[number].tf
		}
		start = end
	}
}

func (c *cotCompress) stepEnd(start int) int {
	if len(c.config.Separators) == 0 {
		return start + min(c.config.StepTokens, len(c.number)-start)
	}
	for i, number := range c.number[start:] {
		if c.terms[number].separates {
			return start + i + 1
		}
	}
	return len(c.number)
}

// inform sets every term's idf and self-information: two logarithms for each
// count that occurs, not for each term. Whose counts are the extremes has the extreme
// information.
func (c *cotCompress) inform() {
	counts := c.ids.Counts()
	rarest, commonest := slices.Min(counts), slices.Max(counts)
	scale := unitScale(c.information(commonest), c.information(rarest))

	idf, info := memo(&c.byDF, len(c.steps)), memo(&c.byCount, commonest)
	for i, count := range counts {
		t := &c.terms[i]
		if idf[t.df] == unknown {
			idf[t.df] = bm25.IDF(len(c.steps), t.df)
		}
		if info[count] == unknown {
			info[count] = scale.of(c.information(count))
		}
		t.idf, t.info = idf[t.df], info[count]
	}
}

// information is the self-information of a token of that count.
func (c *cotCompress) information(count int) float64 {
	return -math.Log2(float64(count) / float64(len(c.number)))
}

// unknown stands for what is not yet known, which is never below 0.
const unknown = -1

// memo makes an empty table of what depends on a count of 0 to most.
func memo(table *[]float64, most int) []float64 {
	*table = spec.Resize(*table, most+1)
	for i := range *table {
		(*table)[i] = unknown
	}
	return *table
}

// relate sets every position's BM25 weight, doubled where the query has the
// token, and returns the least and the most of them.
func (c *cotCompress) relate() (least, most float64) {
	mean := float64(len(c.number)) / float64(len(c.steps))
	least, most = math.Inf(1), math.Inf(-1)
	start := 0
	for _, end := range c.steps {
		norm := bm25.Norm(end-start, mean)
		for i := start; i < end; i++ {
			t := &c.terms[c.number[i]]
			weight := bm25.Weight(t.idf, float64(c.tf[i]), norm)
			if t.asked {
				weight *= 2
			}
			c.saliency[i] = weight
			if weight < least { // min and max, built in, look for NaN too
				least = weight
			}
			if weight > most {
				most = weight
			}
		}
		start = end
	}
	return least, most
}

// A unitScaling maps [least, least+span] onto [0, 1].
type unitScaling struct{ least, span float64 }

// unitScale returns the scaling of a component with that minimum and maximum. One
// whose range is ≤ 1e-6·max|component| is constant, and 0.
func unitScale(least, most float64) unitScaling {
	if most-least <= 1e-6*max(math.Abs(least), math.Abs(most)) {
		return unitScaling{span: math.Inf(1)}
	}
	return unitScaling{least: least, span: most - least}
}

func (s unitScaling) of(c float64) float64 { return (c - s.least) / s.span }
