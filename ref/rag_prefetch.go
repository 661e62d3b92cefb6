package ref

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewRAGPrefetch returns the reference of spec.RAGPrefetch, or an error of kind
// spec.Invalid for a config out of range.
func NewRAGPrefetch(c spec.RAGPrefetchConfig) (spec.RAGPrefetch, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &ragPrefetch{config: c}, nil
}

type ragPrefetch struct {
	config spec.RAGPrefetchConfig
	docs   []*prefetchDoc
	stats  spec.RAGPrefetchStats
}

// A prefetchDoc is a document tracked. Its score is kept as of its last access: at
// time t it is score·decay^(t−last), which is never computed, for it underflows.
type prefetchDoc struct {
	digest string
	score  float64
	last   int   // the number of its last access
	count  int   // of accesses that count
	times  []int // their numbers, where there is a window
}

func (p *ragPrefetch) RecordAccess(dst *string, docTokens []int64) error {
	if err := p.config.CheckTokens(docTokens); err != nil {
		return err
	}
	*dst = digest(docTokens)
	p.stats.Accesses++
	now := p.stats.Accesses
	i := slices.IndexFunc(p.docs, func(d *prefetchDoc) bool { return d.digest == *dst })
	if i >= 0 {
		p.stats.Hits++
	} else {
		i = len(p.docs)
		p.docs = append(p.docs, &prefetchDoc{digest: *dst, last: now})
	}
	d := p.docs[i]
	d.score = 1 + float64(d.score*math.Pow(p.config.RecencyDecay, float64(now-d.last)))
	d.last = now
	d.count++
	if p.config.Window > 0 {
		d.times = append(d.times, now)
		p.expire(now - p.config.Window)
	}
	if len(p.docs) > p.config.MaxDocs {
		slices.SortFunc(p.docs, p.order)
		p.docs = p.docs[:len(p.docs)-1]
		p.stats.Evictions++
	}
	return nil
}

// expire forgets accesses up to a time, and sums anew what is left.
func (p *ragPrefetch) expire(until int) {
	for _, d := range p.docs {
		d.times = slices.DeleteFunc(d.times, func(t int) bool { return t <= until })
		d.count = len(d.times)
		d.score = 0
		for _, t := range d.times {
			d.score += math.Pow(p.config.RecencyDecay, float64(d.last-t))
		}
	}
	p.docs = slices.DeleteFunc(p.docs, func(d *prefetchDoc) bool { return d.count == 0 })
}

// order compares documents, the first of the order first: by the logarithms of
// their scores as of a common time, then by their last access.
func (p *ragPrefetch) order(a, b *prefetchDoc) int {
	later := float64(a.last - b.last)
	difference := math.Log(a.score) - math.Log(b.score) - float64(later*math.Log(p.config.RecencyDecay))
	return cmp.Or(cmp.Compare(0, difference), cmp.Compare(b.last, a.last))
}

func digest(docTokens []int64) string {
	var data []byte
	for _, id := range docTokens {
		data = binary.LittleEndian.AppendUint64(data, uint64(id))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (p *ragPrefetch) GetWarmupCandidates(dst *[]string) error {
	slices.SortFunc(p.docs, p.order)
	*dst = (*dst)[:0]
	for _, d := range p.docs {
		if d.count >= p.config.MinAccesses && len(*dst) < p.config.TopK {
			*dst = append(*dst, d.digest)
		}
	}
	return nil
}

func (p *ragPrefetch) NTracked() int { return len(p.docs) }

func (p *ragPrefetch) Stats() spec.RAGPrefetchStats { return p.stats }
