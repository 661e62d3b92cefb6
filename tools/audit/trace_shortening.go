package audit

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// A shortening is a way to choose the tokens of a trace that are kept: the module's,
// whose number its config says, or a baseline, which keeps n.
type shortening struct {
	name string
	keep func(t *tokenTrace, n int) ([]int, error)
}

// Of shortenings: the documented variant with the question, which is judged, and the
// baselines that it must beat.
const (
	byModule = "documented"
	byLot    = "random"
	byPlace  = "first"
)

// shortenings are the module's variants that are offered, and baselines that keep as
// many tokens as the first of them.
func (a *Audit) shortenings(ends []int64, ratio float64) (list []shortening, err error) {
	compress := func(name string, variant spec.Variant, asked bool) {
		config := spec.DefaultCotCompressConfig()
		config.Variant, config.CompressRatio, config.Separators = variant, ratio, ends
		c, failed := a.Implementation.CotCompress(config)
		if failed != nil {
			err = failed
			return
		}
		var kept []int64
		list = append(list, shortening{name, func(t *tokenTrace, _ int) ([]int, error) {
			question := t.question
			if !asked {
				question = nil
			}
			if err := c.Compress(&kept, t.trace, question); err != nil {
				return nil, err
			}
			places, found := placesOf(t.trace, kept)
			if !found {
				return nil, fmt.Errorf("%s: %d tokens were kept that the trace does not have in that order: the audit cannot be trusted", name, len(kept))
			}
			return places, nil
		}})
	}
	compress(byModule, spec.Documented, true)
	compress("no question", spec.Documented, false)
	if a.Implementation.OffersVariant(spec.ModuleByName("cot-compress"), spec.Squish6) {
		compress("squish6", spec.Squish6, false)
	}
	r := rand.New(rand.NewPCG(a.Seed, 0xc07))
	return append(list,
		shortening{byLot, func(t *tokenTrace, n int) ([]int, error) {
			places := r.Perm(len(t.trace))[:n]
			slices.Sort(places)
			return places, nil
		}},
		shortening{byPlace, func(_ *tokenTrace, n int) ([]int, error) { return span(0, n), nil }},
		shortening{"last", func(t *tokenTrace, n int) ([]int, error) { return span(len(t.trace)-n, len(t.trace)), nil }},
	), err
}

// A shortened is what traces read as when they are shortened in each of some ways.
type shortened struct {
	removed float64 // percent of the tokens of all traces, by the first way
	names   []string
	texts   [][]string // [way][trace]
}

// shorten shortens traces in every way, with the module's ratio.
func (a *Audit) shorten(traces []tokenTrace, ends []int64, ratio float64) (*shortened, error) {
	ways, err := a.shortenings(ends, ratio)
	if err != nil {
		return nil, err
	}
	s, all, kept := &shortened{texts: make([][]string, len(ways))}, 0, 0
	for _, w := range ways {
		s.names = append(s.names, w.name)
	}
	for i := range traces {
		t, n := &traces[i], 0
		for way, w := range ways {
			places, err := w.keep(t, n)
			if err != nil {
				return nil, fmt.Errorf("trace %d: %w", i+1, err)
			}
			if way == 0 {
				n = len(places)
			}
			text, err := t.text(places)
			if err != nil {
				return nil, err
			}
			s.texts[way] = append(s.texts[way], text)
		}
		all, kept = all+len(t.trace), kept+n
	}
	s.removed = 100 * float64(all-kept) / float64(all)
	return s, nil
}

// of returns the texts of a way, if it is there.
func (s *shortened) of(name string) (texts []string, found bool) {
	at := slices.Index(s.names, name)
	if at < 0 {
		return nil, false
	}
	return s.texts[at], true
}

// A survival is what texts state of the solutions that they are made of: of the answer
// 1 or 0, and how many of the results.
type survival [2][]float64

// surviving are what is counted in a survival.
var surviving = [2]string{"answers", "results"}

func survivalOf(solutions []workedSolution, texts []string) (s survival) {
	for i := range solutions {
		answer, results := solutions[i].stated(texts[i])
		s[0], s[1] = append(s[0], 0), append(s[1], float64(results))
		if answer {
			s[0][i] = 1
		}
	}
	return s
}

// percentOf is the share that parts make up of wholes, and its interval over solutions.
func (a *Audit) percentOf(parts, wholes []float64) (float64, Interval) {
	return ratio(100, parts, wholes, a.Seed, "solutions")
}

// pointsBeyond is by how many points the share of parts exceeds that of others, and its
// interval.
func (a *Audit) pointsBeyond(parts, others, wholes []float64) (float64, Interval) {
	more := slices.Clone(parts)
	for i, other := range others {
		more[i] -= other
	}
	return a.percentOf(more, wholes)
}
