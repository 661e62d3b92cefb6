package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// prefetchHits asks for candidates before each turn of a conversation, and counts
// which of the turn's passages are among them. The access pattern drives hits where
// candidates are better than as many that are drawn of those that the conversation
// has had.
func prefetchHits(ctx context.Context, a *Audit, f *Finding) error {
	conversations, source := drawConversations(a.Seed), "drawn conversations"
	if a.Data != "" {
		var err error
		conversations, err = readConversations(a.Data)
		if err != nil {
			return err
		}
		source = "MTRAG"
		for _, domain := range dataDomains {
			f.Evidence = append(f.Evidence, relevantFile(domain))
		}
	}
	turns, accesses := 0, make([]float64, len(conversations))
	for i, c := range conversations {
		turns += len(c.turns)
		for _, passages := range c.turns {
			accesses[i] += float64(len(passages))
		}
	}
	if total(accesses) == 0 {
		f.Verdict, f.Note = Unmeasured, source+": no turn has passages"
		return nil
	}
	// percent is how much of all accesses a number of hits is, and its interval.
	percent := func(hits []float64) (float64, Interval) {
		return ratio(100, hits, accesses, a.Seed, "conversations")
	}

	defaults := spec.DefaultRAGPrefetchConfig()
	f.Curve = &Curve{Columns: []string{"top_k", fmt.Sprintf("after %d accesses %%", defaults.MinAccesses), "after 1 access %", "frequency %", "recency %", "random %", "oracle %"}}
	// gains are by how much candidates beat random ones: the defaults, and the page's
	// four candidates after one access.
	const pageTopK = 4
	var gains [2]string
	var better [2]bool
	gain := func(n int, hits, drawn []float64) {
		differences := slices.Clone(hits)
		for i, x := range drawn {
			differences[i] -= x
		}
		by, interval := percent(differences)
		gains[n], better[n] = fmt.Sprintf("%+.2f points (%s)", by, interval.Text("%+.2f")), interval.Low > 0
	}
	for _, k := range []int{1, 2, pageTopK, 8, defaults.TopK} {
		c := defaults
		c.TopK = k
		after := c
		after.MinAccesses = 1
		policies := []policy{candidatesOf(a.Implementation, c), candidatesOf(a.Implementation, after), mostOften(k), latest(k), random(k), oracle(k)}
		hits, row := make([][]float64, len(policies)), []float64{float64(k)}
		for n, p := range policies {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if hits[n], err = hitsOf(conversations, p); err != nil {
				return err
			}
			row = append(row, 100*total(hits[n])/total(accesses))
		}
		f.Curve.add(row...)
		switch k {
		case pageTopK:
			gain(1, hits[1], hits[4])
		case defaults.TopK:
			gain(0, hits[0], hits[4])
			figure, interval := percent(hits[0])
			f.Figure, f.Unit, f.Interval = &figure, "% of accesses among candidates", &interval
		}
	}
	switch {
	case better[0]:
		f.Verdict = Supported
	case better[1]:
		f.Verdict = Conditional
	default:
		f.Verdict = Refuted
	}
	f.Note = fmt.Sprintf("%s: %d conversations, each with an instance of its own, %d turns, %.0f accesses. The figure is of the defaults: %d candidates, after %d accesses; against as many that are drawn of what the conversation has had, %s. %d candidates after one access: %s. No prefetcher hits a passage that is new: seen before in the conversation are %s",
		source, len(conversations), turns, total(accesses), defaults.TopK, defaults.MinAccesses, gains[0], pageTopK, gains[1], seenBefore(conversations))
	return nil
}

// seenBefore says for each domain which share of accesses is to a passage that the
// conversation has had in an earlier turn.
func seenBefore(conversations []conversation) string {
	var domains, shares []string
	seen, all := map[string]int{}, map[string]int{}
	for _, c := range conversations {
		if !slices.Contains(domains, c.domain) {
			domains = append(domains, c.domain)
		}
		had := map[int64]bool{}
		for _, passages := range c.turns {
			all[c.domain] += len(passages)
			for _, p := range passages {
				if had[p] {
					seen[c.domain]++
				}
			}
			for _, p := range passages {
				had[p] = true
			}
		}
	}
	for _, d := range domains {
		shares = append(shares, fmt.Sprintf("%.1f%% (%s)", 100*float64(seen[d])/float64(max(1, all[d])), d))
	}
	return strings.Join(shares, ", ")
}

// A policy is asked before a turn, with all accesses of the conversation so far, and
// returns how many of the turn's passages it has ready: an expectation, where it
// draws.
type policy func(had, turn []int64) (float64, error)

// hitsOf are a policy's hits in each conversation.
func hitsOf(conversations []conversation, p policy) ([]float64, error) {
	hits := make([]float64, len(conversations))
	for i, c := range conversations {
		var had []int64
		for _, turn := range c.turns {
			n, err := p(had, turn)
			if err != nil {
				return nil, err
			}
			hits[i] += n
			had = append(had, turn...)
		}
	}
	return hits, nil
}

// candidatesOf is the module's policy: an instance sees all accesses so far.
func candidatesOf(impl spec.Implementation, c spec.RAGPrefetchConfig) policy {
	return func(had, turn []int64) (float64, error) {
		prefetch, err := impl.RAGPrefetch(c)
		if err != nil {
			return 0, err
		}
		passages := map[string]int64{} // by digest
		var digest string
		for _, p := range had {
			if err := prefetch.RecordAccess(&digest, []int64{p}); err != nil {
				return 0, err
			}
			passages[digest] = p
		}
		var candidates []string
		if err := prefetch.GetWarmupCandidates(&candidates); err != nil {
			return 0, err
		}
		if len(candidates) > c.TopK {
			return 0, fmt.Errorf("%d candidates, top_k is %d: the audit cannot be trusted", len(candidates), c.TopK)
		}
		n := 0.0
		for _, d := range candidates {
			p, known := passages[d]
			if !known {
				return 0, fmt.Errorf("candidate %s was never accessed: the audit cannot be trusted", d)
			}
			if slices.Contains(turn, p) {
				n++
			}
		}
		return n, nil
	}
}

// mostOften has the k passages of most accesses, and of equals the latest.
func mostOften(k int) policy { return ranked(k, func(times int) int { return times }) }

// latest has the k passages of the latest accesses.
func latest(k int) policy { return ranked(k, func(int) int { return 0 }) }

// ranked has the k passages of the greatest weight, and of equals the latest.
func ranked(k int, weight func(times int) int) policy {
	return func(had, turn []int64) (n float64, _ error) {
		times, last := map[int64]int{}, map[int64]int{}
		for at, p := range had {
			times[p]++
			last[p] = at
		}
		order := distinct(had)
		slices.SortFunc(order, func(p, q int64) int {
			return cmp.Or(weight(times[q])-weight(times[p]), last[q]-last[p])
		})
		for _, p := range order[:min(k, len(order))] {
			if slices.Contains(turn, p) {
				n++
			}
		}
		return n, nil
	}
}

// random has k passages of those that there were, each as likely: the hits are those
// to be expected.
func random(k int) policy {
	return func(had, turn []int64) (float64, error) {
		all := distinct(had)
		return float64(again(all, turn)) * min(1, float64(k)/float64(max(1, len(all)))), nil
	}
}

// oracle knows the turn, and has k of the passages that there were.
func oracle(k int) policy {
	return func(had, turn []int64) (float64, error) { return float64(min(k, again(had, turn))), nil }
}

// again counts the passages of a turn that there were.
func again(had, turn []int64) (n int) {
	for _, p := range turn {
		if slices.Contains(had, p) {
			n++
		}
	}
	return n
}

func distinct(had []int64) []int64 {
	all := slices.Clone(had)
	slices.Sort(all)
	return slices.Compact(all)
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}
