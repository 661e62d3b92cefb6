package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// tieredHits puts prefix blocks through the three tiers, a block a position, at one
// capacity after the other. The hot tier drives what is saved where it has half of
// the hits at least.
func tieredHits(ctx context.Context, a *Audit, f *Finding) error {
	trace, source := drawRequests(a.Seed), "drawn sessions whose prompts grow"
	if a.Data != "" {
		var err error
		trace, err = readRequests(a.Data)
		if err != nil {
			return err
		}
		source = dataRequests
		f.Evidence = append(f.Evidence, dataRequests)
	}
	all, distinct := trace.blocks()
	reach := trace.reach()
	percent := func(hits int) float64 { return 100 * float64(hits) / float64(all) }
	model := a.Subject.Model.Config
	block := 2 * 2 * model.Layers * model.KVHeads * model.HeadDim * prefixBlock // bytes
	megabytes := func(blocks int) float64 { return float64(blocks*block) / 1e6 }

	f.Curve = &Curve{Columns: []string{"blocks", "hot MB", "warm MB", "cold MB", "hot %", "warm %", "cold %",
		"all tiers %", "one LRU %", "Belady %", "bound %"}}
	var driven, not []string // capacities where hot has half of the hits, and others
	for _, c := range tierings(distinct) {
		if err := ctx.Err(); err != nil {
			return err
		}
		stats, err := throughTiers(a.Implementation, c, trace)
		if err != nil {
			return err
		}
		capacity, tiers := tiered(c), stats.HotHits+stats.WarmHits+stats.ColdHits
		lru := hits(reach, capacity)
		if tiers != lru {
			return fmt.Errorf("%d blocks: the tiers hit %d times and one LRU stack %d: the audit cannot be trusted", capacity, tiers, lru)
		}
		prefix, bound := trace.belady(capacity)
		f.Curve.add(float64(capacity), megabytes(c.HotCapacity), megabytes(c.WarmCapacity), megabytes(c.ColdCapacity),
			percent(stats.HotHits), percent(stats.WarmHits), percent(stats.ColdHits), percent(tiers), percent(lru), percent(prefix), percent(bound))
		if capacity == tiered(spec.DefaultHierarchicalKVConfig()) {
			f.counted(percent(stats.HotHits), "% of blocks hit in hot")
		}
		switch text := fmt.Sprint(capacity); {
		case tiers == 0:
		case 2*stats.HotHits >= tiers:
			driven = append(driven, text)
		default:
			not = append(not, text)
		}
	}
	f.Note = fmt.Sprintf("%s: %d requests, %d blocks of %d tokens, %d different; a hit counts while the prefix is unbroken. The figure is of the default tiers, all of which hit what one LRU stack hits",
		source, len(trace), all, prefixBlock, distinct)
	for _, where := range []struct {
		what       string
		capacities []string
	}{{"half of the hits or more", driven}, {"less than half of the hits", not}} {
		if len(where.capacities) > 0 {
			f.Note += fmt.Sprintf(". Hot has %s with %s blocks", where.what, strings.Join(where.capacities, ", "))
		}
	}
	f.Note += fmt.Sprintf(". A tier takes its capacity, whatever is hit: here %d bytes a block, in float16 on this model. No policy at any capacity hits more than %.1f%%; Belady's optimum is computed offline, and its hits behind a broken prefix too are the bound", block, percent(all-distinct))
	switch {
	case driven == nil && not == nil:
		f.Verdict = Unmeasured
	case not == nil:
		f.Verdict = Supported
	case driven == nil:
		f.Verdict = Refuted
	default:
		f.Verdict = Conditional
	}
	return nil
}

// tiered is what all tiers hold together.
func tiered(c spec.HierarchicalKVConfig) int { return c.HotCapacity + c.WarmCapacity + c.ColdCapacity }

// tierings are the default tiers, and others in their proportions: some that hold
// less than all blocks that there are, and one that holds them all.
func tierings(distinct int) (list []spec.HierarchicalKVConfig) {
	page := spec.DefaultHierarchicalKVConfig()
	capacities := []int{tiered(page), distinct}
	for _, n := range []int{100, 1_000, 3_000, 10_000, 30_000, 100_000} {
		if n < distinct {
			capacities = append(capacities, n)
		}
	}
	slices.Sort(capacities)
	for _, n := range slices.Compact(capacities) {
		c := spec.HierarchicalKVConfig{NHeads: 1, HeadDim: 1}
		c.HotCapacity = max(1, n*page.HotCapacity/tiered(page))
		c.WarmCapacity = max(c.HotCapacity+1, n*page.WarmCapacity/tiered(page))
		c.ColdCapacity = max(c.WarmCapacity+1, n-c.HotCapacity-c.WarmCapacity)
		list = append(list, c)
	}
	return list
}

// throughTiers gets each block of a request until one is missing, and puts that and
// those behind it.
func throughTiers(impl spec.Implementation, c spec.HierarchicalKVConfig, trace prefixTrace) (spec.HierarchicalKVStats, error) {
	kv, err := impl.HierarchicalKV(c)
	if err != nil {
		return spec.HierarchicalKVStats{}, err
	}
	one := spec.Matrix{Rows: 1, Cols: 1, Data: []float32{0}}
	var found spec.KVLookup
	for _, request := range trace {
		broken := false
		for _, b := range request {
			one.Data[0] = float32(b)
			if !broken {
				if err := kv.Get(&found, b); err != nil {
					return spec.HierarchicalKVStats{}, err
				}
				if found.Hit && found.Key.Data[0] != one.Data[0] {
					return spec.HierarchicalKVStats{}, fmt.Errorf("block %d came back as that of another: the audit cannot be trusted", b)
				}
				broken = !found.Hit
			}
			if broken {
				if err := kv.Put(b, one, one); err != nil {
					return spec.HierarchicalKVStats{}, err
				}
			}
		}
	}
	return kv.Stats(), nil
}
