package fast

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/squishspec/squishspec/fast/internal/lrfu"
	"github.com/squishspec/squishspec/spec"
)

// NewRAGPrefetch returns the optimised spec.RAGPrefetch, or an error of kind
// spec.Invalid for a config out of range.
//
// A record costs the hash and O(log n) for the order; a tracked document's digest
// is handed out as the string that it has, so that nothing is allocated for it.
func NewRAGPrefetch(c spec.RAGPrefetchConfig) (spec.RAGPrefetch, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &ragPrefetch{
		config: c, table: lrfu.New(c.RecencyDecay, c.Window),
		slots: map[[sha256.Size]byte]int32{}, hash: sha256.New(),
	}, nil
}

type ragPrefetch struct {
	config spec.RAGPrefetchConfig
	table  *lrfu.Table
	slots  map[[sha256.Size]byte]int32
	docs   []prefetchDoc // by slot
	top    []int32
	hash   hash.Hash
	buffer [4096]byte
	stats  spec.RAGPrefetchStats
}

type prefetchDoc struct {
	key    [sha256.Size]byte
	digest string
}

func (p *ragPrefetch) RecordAccess(dst *string, docTokens []int64) error {
	if err := p.config.CheckTokens(docTokens); err != nil {
		return err
	}
	key := p.digest(docTokens)
	slot, tracked := p.slots[key]
	if tracked {
		p.stats.Hits++
	} else {
		slot = p.table.Add()
		if int(slot) == len(p.docs) {
			p.docs = append(p.docs, prefetchDoc{})
		}
		p.docs[slot] = prefetchDoc{key, hex.EncodeToString(key[:])}
		p.slots[key] = slot
	}
	*dst = p.docs[slot].digest
	p.stats.Accesses++
	if expired, ok := p.table.Access(slot); ok {
		p.forget(expired)
	}
	if p.table.Len() > p.config.MaxDocs {
		last := p.table.Last()
		p.table.Drop(last)
		p.forget(last)
		p.stats.Evictions++
	}
	return nil
}

func (p *ragPrefetch) forget(slot int32) {
	delete(p.slots, p.docs[slot].key)
	p.docs[slot] = prefetchDoc{}
}

// digest hashes the ids a buffer at a time.
func (p *ragPrefetch) digest(docTokens []int64) (key [sha256.Size]byte) {
	p.hash.Reset()
	for len(docTokens) > 0 {
		n := min(len(docTokens), len(p.buffer)/8)
		for i, id := range docTokens[:n] {
			binary.LittleEndian.PutUint64(p.buffer[8*i:], uint64(id))
		}
		p.hash.Write(p.buffer[:8*n])
		docTokens = docTokens[n:]
	}
	copy(key[:], p.hash.Sum(p.buffer[:0]))
	return key
}

func (p *ragPrefetch) GetWarmupCandidates(dst *[]string) error {
	p.top = p.table.Top(p.top[:0], p.config.TopK, p.config.MinAccesses)
	*dst = (*dst)[:0]
	for _, slot := range p.top {
		*dst = append(*dst, p.docs[slot].digest)
	}
	return nil
}

func (p *ragPrefetch) NTracked() int { return p.table.Len() }

func (p *ragPrefetch) Stats() spec.RAGPrefetchStats { return p.stats }
