package fast_test

import (
	"fmt"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// BenchmarkGrowth times calls whose cost must not grow with what is stored, or with
// its logarithm alone, with a thousand entries and with a million. What does grow is
// the price of a cache miss. cot-compress is timed by the token.
func BenchmarkGrowth(b *testing.B) {
	for _, g := range []struct {
		name    string
		prepare func(b *testing.B, n int) (call func(i int))
	}{
		{"vision-kv-fuse/append", growFuse},
		{"rag-prefetch/record", func(b *testing.B, n int) func(int) { return growPrefetch(b, n, 0) }},
		{"rag-prefetch/record in a window", func(b *testing.B, n int) func(int) { return growPrefetch(b, n, n) }},
		{"multimodal-batch/add and next", func(b *testing.B, n int) func(int) { return growBatch(b, n, 0) }},
		{"multimodal-batch/overdue", func(b *testing.B, n int) func(int) { return growBatch(b, n, 1) }},
		{"hierarchical-kv/put", growPut},
		{"hierarchical-kv/get", growGet},
		{"modality-router/route", growRouter},
		{"model-surgery/plan", growPlan},
	} {
		for _, n := range []int{1_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", g.name, n), func(b *testing.B) {
				call := g.prepare(b, n)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					call(i)
				}
			})
		}
	}
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		for _, n := range []int{1_000, 1_000_000} {
			b.Run(fmt.Sprintf("cot-compress/compress %s/%d", variant, n), func(b *testing.B) { growTrace(b, variant, n) })
		}
	}
}

// scattered is a number below n that is far from the one before.
func scattered(i, n int) int { return int(uint64(i) * 0x9e3779b97f4a7c15 >> 20 % uint64(n)) }

func must(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

func growFuse(b *testing.B, n int) func(int) {
	f, err := fast.NewVisionKVFuse(spec.VisionKVFuseConfig{TextCapacity: n, VisionCapacity: 1, NHeads: 2, HeadDim: 4})
	must(b, err)
	key := spec.Matrix{Rows: 2, Cols: 4, Data: make([]float32, 8)}
	return func(i int) {
		if f.TextLen() == n {
			must(b, f.Reset(spec.Text))
		}
		must(b, f.Append(spec.Text, key, key))
	}
}

func growPrefetch(b *testing.B, n, window int) func(int) {
	p, err := fast.NewRAGPrefetch(spec.RAGPrefetchConfig{MaxDocs: n, TopK: 4, RecencyDecay: 0.999, MinAccesses: 1, Window: window})
	must(b, err)
	doc, digest := make([]int64, 1), ""
	for i := range n {
		doc[0] = int64(i)
		must(b, p.RecordAccess(&digest, doc))
	}
	return func(i int) {
		doc[0] = int64(scattered(i, n))
		must(b, p.RecordAccess(&digest, doc))
	}
}

func growBatch(b *testing.B, n, wait int) func(int) {
	config := spec.DefaultMultiModalBatchConfig()
	config.MaxBatchSize, config.MaxWaitRounds = 1, wait
	m, err := fast.NewMultiModalBatch(config)
	must(b, err)
	add := func(i int) { must(b, m.AddRequest(int64(i), spec.Text, 1, 0, i%spec.PriorityLevels)) }
	for i := range n {
		add(i)
	}
	var batch []spec.BatchSlot
	return func(i int) {
		add(i)
		must(b, m.NextBatch(&batch))
	}
}

func growStore(b *testing.B, n int) (kv spec.HierarchicalKV, key spec.Matrix) {
	kv, err := fast.NewHierarchicalKV(spec.HierarchicalKVConfig{HotCapacity: n / 10, WarmCapacity: n / 5, ColdCapacity: n - n/10 - n/5, NHeads: 2, HeadDim: 4})
	must(b, err)
	key = spec.Matrix{Rows: 2, Cols: 4, Data: make([]float32, 8)}
	for i := range n {
		must(b, kv.Put(i, key, key))
	}
	return kv, key
}

func growPut(b *testing.B, n int) func(int) {
	kv, key := growStore(b, n)
	return func(i int) { must(b, kv.Put(n+i, key, key)) }
}

func growGet(b *testing.B, n int) func(int) {
	kv, _ := growStore(b, n)
	var out spec.KVLookup
	return func(i int) { must(b, kv.Get(&out, scattered(i, n))) }
}

// growRouter has a history of so many requests.
func growRouter(b *testing.B, n int) func(int) {
	r, err := fast.NewModalityRouter(spec.DefaultModalityRouterConfig())
	must(b, err)
	var accepted bool
	var rate float64
	call := func(i int) {
		must(b, r.Route(&accepted, int64(i), spec.Text))
		must(b, r.Complete(int64(i), spec.Text, 20))
		must(b, r.SloViolationRate(&rate, spec.Text))
	}
	for i := range n {
		call(i)
	}
	return call
}

func growPlan(b *testing.B, n int) func(int) {
	s, err := fast.NewModelSurgery(spec.DefaultModelSurgeryConfig())
	must(b, err)
	var plan spec.SurgeryPlan
	var reduction float64
	return func(int) {
		must(b, s.Plan(&plan, n, 32, 128, 8))
		must(b, s.EstimateReduction(&reduction, plan))
	}
}

func growTrace(b *testing.B, variant spec.Variant, n int) {
	config := spec.DefaultCotCompressConfig()
	config.Variant = variant
	cot, err := fast.NewCotCompress(config)
	must(b, err)
	trace := make([]int64, n)
	for i := range trace {
		trace[i] = int64(scattered(i, 1+scattered(i+1, 32_000))) // low ids come more often
	}
	var kept []int64
	must(b, cot.Compress(&kept, trace, nil)) // scratch memory grows
	b.ReportAllocs()
	for b.Loop() {
		must(b, cot.Compress(&kept, trace, nil))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/token")
}
