package spec

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustRow(t *testing.T, id string) Row {
	t.Helper()
	r, ok := RowByID(id)
	if !ok {
		t.Fatalf("no row %q", id)
	}
	return r
}

func TestEveryRowHasAFormulaAndEveryFormulaARow(t *testing.T) {
	var ids []string
	for _, r := range Rows() {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	if diff := cmp.Diff(ids, slices.Sorted(maps.Keys(formulas))); diff != "" {
		t.Errorf("ids of rows and of formulas (-rows +formulas):\n%s", diff)
	}
}

func TestLatencyRowsCostSomethingAndFiguresNothing(t *testing.T) {
	for _, r := range Rows() {
		for _, name := range WorkloadNames {
			c := r.Cost(name)
			if !r.IsLatency() {
				if c != (Cost{}) {
					t.Errorf("%s, %s: a figure costs %+v", r.ID, name, c)
				}
				continue
			}
			if c.Bytes <= 0 {
				t.Errorf("%s, %s: costs %+v", r.ID, name, c)
			}
			if min(c.MulAdds, c.Exps, c.Logic, c.HashBlocks) < 0 {
				t.Errorf("%s, %s: negative: %+v", r.ID, name, c)
			}
		}
		if c := r.Cost("warm-up"); c != (Cost{}) {
			t.Errorf("%s: a workload that does not exist costs %+v", r.ID, c)
		}
	}
	if c := (Row{ID: "no/such"}).Cost(PageWorkload); c != (Cost{}) {
		t.Errorf("a row that does not exist costs %+v", c)
	}
}

func TestAttentionCostIsTheClosedForm(t *testing.T) {
	for _, id := range []string{"cross-modal-attn/forward", "cross-modal-attn/forward-best", "cross-doc-attn/forward", "cross-doc-attn/forward-best"} {
		r := mustRow(t, id)
		for _, name := range WorkloadNames {
			for _, scale := range []float64{1, 2, 3} {
				w := r.Workload(name)
				w = w.With("n_heads", scale*w.Float("n_heads", 0)).With("head_dim", scale*w.Float("head_dim", 0))
				h, d := w.Int("n_heads", 0), w.Int("head_dim", 0)
				q, k := w.Int("seq_text", 0), w.Int("seq_vision", 0)
				if r.Module == "cross-doc-attn" {
					q, k = w.Int("seq_q", 0), w.Int("docs", 0)*w.Int("seq_k", 0)
				}
				c := r.CostOf(name, w)
				if want := int64(2 * h * q * k * d); c.MulAdds != want || want == 0 {
					t.Errorf("%s, %s: %d multiply-adds, want %d", id, name, c.MulAdds, want)
				}
				if want := int64(h * q * k); c.Exps != want {
					t.Errorf("%s, %s: %d exponentials, want %d", id, name, c.Exps, want)
				}
				if want := int64(4 * (h*q*d + h*k*d + h*k*d + h*q*d)); c.Bytes != want {
					t.Errorf("%s, %s: %d bytes, want %d", id, name, c.Bytes, want)
				}
			}
		}
	}
}

func TestCostsByHand(t *testing.T) {
	for _, c := range []struct {
		id   string
		name WorkloadName
		want Cost
	}{
		// Two tokens of a key and a value of 8×64 floats, read and written.
		{"vision-kv-fuse/append", PageWorkload, Cost{Logic: 2, Bytes: 2 * 2 * 2 * 512 * 4}},
		// 8 maps of 196×196: 307,328 logarithms.
		{"image-token-prune/prune", HarnessWorkload, Cost{MulAdds: 921_984, Exps: 307_328, Logic: 307_524, Bytes: 1_229_312 + 196*8}},
		{"image-token-prune/prune", PageWorkload, Cost{MulAdds: 2 * 524_288, Logic: 524_288 + 256, Bytes: 4*524_288 + 256*8}},
		// 32 ids are 256 bytes, and with their padding 5 blocks; 51 documents are a heap of height 6.
		{"rag-prefetch/record-access", HarnessWorkload, Cost{MulAdds: 1, Exps: 1, Logic: 1 + 6, HashBlocks: 5, Bytes: 256 + 64 + 48}},
		// 0.4 of 256 are 102 dropped; 16 steps.
		{"cot-compress/compress-256", PageWorkload, Cost{MulAdds: 12*256 + 2*16, Exps: 512, Logic: 7 * 256, Bytes: 8 * (256 + 154)}},
		{"cot-compress/compress-64", HarnessWorkload, Cost{MulAdds: 128, Logic: 128, Bytes: 8 * (64 + 38)}},
		// 2 to the power of 6 keys of 256, in order.
		{"contextual-rerank/rerank", HarnessWorkload, Cost{MulAdds: 131_072 + 4096 + 768, Logic: 512 + 256 + 64*6, Bytes: 4*131_072 + 8*64}},
		{"cross-modal-attn/forward", PageWorkload, Cost{MulAdds: 1_048_576, Exps: 16_384, Logic: 16_384, Bytes: 131_072}},
		{"hierarchical-kv/get-hit", PageWorkload, Cost{Logic: 1, Bytes: 9 + 2*2*128*4}},
		{"hierarchical-kv/get-miss", HarnessWorkload, Cost{Logic: 1, Bytes: 9}},
		{"hierarchical-kv/put", PageWorkload, Cost{Logic: 8, Bytes: 8 * (8 + 2*2*128*4)}},
		// ⌈196·0.7⌉ = 138 patches stay.
		{"video-frame-prune/prune-spatial", HarnessWorkload, Cost{MulAdds: 196*256 + 196, Logic: 196, Bytes: 4*196*256 + 8*138}},
		// 16 frames of 196, of which 58 go.
		{"video-frame-prune/prune-spatial", PageWorkload, Cost{MulAdds: 802_816 + 32*3136, Exps: 16 * 3136, Logic: 3*802_816 + 3136, Bytes: 4*802_816 + 8*16*138}},
		// 32 windows of 64 rows, compared 31 times.
		{"long-context-chunk/chunk-2048", HarnessWorkload, Cost{MulAdds: 2048*128 + 63*128 + 5*31, Logic: 31, Bytes: 4*2048*128 + 16*4}},
		// One chunk: nothing but the look for what is not finite.
		{"long-context-chunk/chunk-256", HarnessWorkload, Cost{Logic: 256 * 128, Bytes: 4*256*128 + 16}},
		{"ternary-quant/quantize", PageWorkload, Cost{MulAdds: 65_537, Logic: 131_072, Bytes: 262_144 + 65_536 + 4, Reread: 262_144}},
		{"ternary-quant/dequantize", PageWorkload, Cost{MulAdds: 65_536, Bytes: 65_536 + 4 + 262_144}},
		// One word a pair: 32,768 pairs of 8 heads; weights times values is half of an attention.
		{"binary-attn/forward", HarnessWorkload, Cost{MulAdds: 2_097_152, Exps: 32_768, Logic: 65_536 + 65_536 + 32_768, Bytes: 524_288}},
		// Groups of four have six pairs.
		{"structured-prune/prune", HarnessWorkload, Cost{Logic: 16_384 * 6, Bytes: 9 * 65_536}},
		{"layer-fusion/cosine-similarity", HarnessWorkload, Cost{MulAdds: 3*262_144 + 3, Bytes: 2_097_152 + 8}},
		{"layer-fusion/fuse", HarnessWorkload, Cost{MulAdds: 2 * 262_144, Bytes: 3 * 1_048_576}},
		{"weight-sharing/get-effective-weight", HarnessWorkload, Cost{MulAdds: 1_048_576, Bytes: 2*262_144 + 2*16_384}},
		// 0.3 of 32,768 are 9,830 zeros; 129 row pointers.
		{"sparse-weight/compress", PageWorkload, Cost{Logic: 32_768, Bytes: 131_072 + 22_938*6 + 129*4}},
		{"sparse-weight/decompress", HarnessWorkload, Cost{Logic: 32_768, Bytes: 32_768*6 + 262_144}},
		{"delta-compress/compress", PageWorkload, Cost{MulAdds: 33 * 65_536, Bytes: 2*262_144 + 4*16*513}},
		{"delta-compress/decompress", PageWorkload, Cost{MulAdds: 16 * (65_536 + 256), Bytes: 4*16*513 + 262_144}},
		{"zero-quant-v2/dequantize", HarnessWorkload, Cost{MulAdds: 32_768, Bytes: 32_768 + 4*256 + 131_072 + 131_072}},
		// 64 columns in one block: 64·63/2 updates a row.
		{"gptq-layer/calibrate", HarnessWorkload, Cost{MulAdds: 128*64 + 5*4096 + 64*2016, Logic: 4096, Bytes: 4 * (4096 + 8192 + 4096)}},
		{"gptq-layer/calibrate", PageWorkload, Cost{MulAdds: 128*24_310 + 3_549_333 + 4*7040 + 32*24_090, Logic: 7040, Bytes: 4*(7040+28_160) + 7040 + 128 + 4*7040}},
		{"sparse-moe/route", PageWorkload, Cost{MulAdds: 32_768 + 256 + 128 + 4, Exps: 128, Logic: 32 * (4 + 2), Bytes: 4*(8192+1024) + 12*64 + 4}},
		{"awq-v2/calibrate", HarnessWorkload, Cost{MulAdds: 80 * 32_768, Logic: 41 * 32_768, Bytes: 4 * (32_768 + 3*256)}},
		{"iter-prune/prune-step-5", PageWorkload, Cost{MulAdds: 5, Logic: 131_072, Bytes: 524_288 + 8, Reread: 262_144}},
	} {
		if diff := cmp.Diff(c.want, mustRow(t, c.id).Cost(c.name)); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", c.id, c.name, diff)
		}
	}
}

// A formula's growth is what its leading term says.
func TestDoublingASizeScalesTheCost(t *testing.T) {
	for _, c := range []struct {
		id, size                   string
		name                       WorkloadName
		mulAdds, exps, logic, move float64 // factors; 0 for a cost that is not there
	}{
		{"vision-kv-fuse/append", "head_dim", PageWorkload, 0, 0, 1, 2},
		{"vision-kv-fuse/get-kv", "tokens", HarnessWorkload, 0, 0, 1, 1},
		{"image-token-prune/prune", "n_tokens", HarnessWorkload, 4, 4, 4, 4},
		{"image-token-prune/prune", "n_heads", PageWorkload, 2, 0, 2, 2},
		{"cross-modal-attn/forward", "seq_text", PageWorkload, 2, 2, 2, 1.5},
		{"cross-modal-attn/forward", "head_dim", PageWorkload, 2, 1, 1, 2},
		{"cross-doc-attn/forward", "docs", PageWorkload, 2, 2, 2, 5. / 3},
		{"binary-attn/forward", "seq", PageWorkload, 4, 4, 3.5, 2},
		{"hierarchical-kv/put", "tokens", PageWorkload, 0, 0, 2, 2},
		{"stream-rag/retrieve", "passages", HarnessWorkload, 1.9, 0, 1.6, 1.53},
		{"video-frame-prune/prune-temporal", "embed_dim", PageWorkload, 2, 0, 1, 2},
		{"embedding-gate/gate", "tokens", HarnessWorkload, 2, 0, 2, 2},
		{"ternary-quant/quantize", "rows", PageWorkload, 2, 0, 2, 2},
		{"structured-prune/prune", "rows", PageWorkload, 2, 0, 2, 2},
		{"layer-fusion/fuse", "cols", PageWorkload, 2, 0, 0, 2},
		{"weight-sharing/get-effective-weight", "rank", HarnessWorkload, 2, 0, 0, 1.06},
		{"weight-sharing/get-effective-weight", "hidden_dim", HarnessWorkload, 4, 0, 0, 4},
		{"delta-compress/compress", "rank", PageWorkload, 2, 0, 0, 1.06},
		{"delta-compress/decompress", "rows", PageWorkload, 2, 0, 0, 2},
		{"gptq-layer/calibrate", "rows", HarnessWorkload, 2, 0, 2, 2},
		{"gptq-layer/calibrate", "samples", PageWorkload, 1.4, 0, 1, 1.6},
		{"sparse-moe/route", "tokens", PageWorkload, 2, 2, 2, 1.9},
		{"awq-v2/calibrate", "n_search_steps", HarnessWorkload, 2, 0, 2, 1},
		{"awq-v2/calibrate", "samples", HarnessWorkload, 1, 0, 1, 1},
		{"quant-calib/calibrate-minmax", "samples", PageWorkload, 1, 0, 2, 2},
		{"iter-prune/prune-step-5", "rows", PageWorkload, 1, 0, 2, 2},
	} {
		r := mustRow(t, c.id)
		w := r.Workload(c.name)
		a, b := r.CostOf(c.name, w), r.CostOf(c.name, w.With(c.size, 2*w.Float(c.size, 1)))
		for _, part := range []struct {
			what          string
			before, after int64
			factor        float64
		}{
			{"multiply-adds", a.MulAdds, b.MulAdds, c.mulAdds},
			{"exponentials", a.Exps, b.Exps, c.exps},
			{"logic", a.Logic, b.Logic, c.logic},
			{"bytes", a.Bytes, b.Bytes, c.move},
		} {
			if want := part.factor * float64(part.before); math.Abs(float64(part.after)-want) > 0.05*want {
				t.Errorf("%s, %s: twice the %s takes %s from %d to %d, want %v times", c.id, c.name, c.size, part.what, part.before, part.after, part.factor)
			}
			if part.factor == 0 && part.after != 0 {
				t.Errorf("%s, %s: %d %s, want none", c.id, c.name, part.after, part.what)
			}
		}
	}
}

// GPTQ's Hessian is quadratic and its Cholesky factors cubic in the columns.
func TestGPTQGrowsBetweenQuadraticAndCubic(t *testing.T) {
	r := mustRow(t, "gptq-layer/calibrate")
	w := r.Page
	small, large := r.Cost(PageWorkload), r.CostOf(PageWorkload, w.With("cols", 2*w.Float("cols", 0)))
	if factor := float64(large.MulAdds) / float64(small.MulAdds); factor < 4 || factor > 8 {
		t.Errorf("twice the columns cost %v times the multiply-adds, want 4 to 8", factor)
	}
}

// The error of AWQ's search is taken on the activations, or on their Gram matrix
// where there are more of them than channels: from there on more activations cost
// only the matrix.
func TestAWQTakesTheCheaperError(t *testing.T) {
	r := mustRow(t, "awq-v2/calibrate")
	at := func(samples float64) int64 { return r.CostOf(PageWorkload, r.Page.With("samples", samples)).MulAdds }
	gram := int64(256 * 257 / 2)
	if got, want := at(4096)-at(2048), 2048*(gram+256); got != want {
		t.Errorf("2048 activations more cost %d multiply-adds, want %d", got, want)
	}
	if got, want := at(128)-at(64), int64(64*(256+20*(32_768+128))); got != want {
		t.Errorf("64 activations more cost %d multiply-adds, want %d", got, want)
	}
}

var sizes = []string{
	"n_heads", "head_dim", "n_tokens", "doc_tokens", "tracked", "window", "top_k", "tokens", "max_batch_size", "docs",
	"query_tokens", "embed_dim", "seq", "seq_text", "seq_vision", "seq_q", "seq_k", "passages", "max_docs", "frames",
	"patches", "rows", "cols", "hidden_dim", "rank", "samples", "channels", "n_experts", "n_search_steps",
}

func TestMoreWorkNeverCostsLess(t *testing.T) {
	operations := func(c Cost) int64 { return c.MulAdds + c.Exps + c.Logic + c.HashBlocks }
	for _, r := range Rows() {
		for _, name := range WorkloadNames {
			w, before := r.Workload(name), r.Cost(name)
			for _, size := range sizes {
				if _, ok := w[size]; !ok {
					continue
				}
				after := r.CostOf(name, w.With(size, 2*w.Float(size, 0)))
				if after.Bytes < before.Bytes || operations(after) < operations(before) {
					t.Errorf("%s, %s: twice the %s costs %+v, less than %+v", r.ID, name, size, after, before)
				}
			}
		}
	}
}

func TestNoWorkloadMakesACostPanic(t *testing.T) {
	for _, r := range Rows() {
		for _, name := range WorkloadNames {
			r.CostOf(name, nil)
			for _, x := range []float64{0, 1, -1, 0.5} {
				all := Workload{"group_size": x, "group_rows": x, "block_size": x, "min_chunk": x, "max_chunk": x, "N": x, "M": x}
				for key := range r.Workload(name) {
					all[key] = x
				}
				r.CostOf(name, all)
			}
		}
	}
}

// The figures of the page that are closed forms of a workload.
func TestFiguresFollowFromTheirWorkloads(t *testing.T) {
	delta := mustRow(t, "delta-compress/compression-ratio")
	rows, cols, rank := lowRank(delta.Page)
	if got := float64(rows*cols) / float64(rank*(rows+cols+1)); math.Abs(got-delta.Value) > 0.005 {
		t.Errorf("%s: %v by the formula, %v on the page", delta.ID, got, delta.Value)
	}

	sharing := mustRow(t, "weight-sharing/memory-ratio")
	for _, name := range WorkloadNames {
		w := sharing.Workload(name)
		if got := 1/w.Float("layers", 0) + 2*w.Float("rank", 0)/w.Float("hidden_dim", 0); got != sharing.Value {
			t.Errorf("%s, %s: %v by the formula, %v on the page", sharing.ID, name, got, sharing.Value)
		}
	}

	sparse := mustRow(t, "sparse-weight/compression-ratio")
	dense := func(w Workload) float64 { return float64(bytesFloat * w.elements()) }
	if got := dense(sparse.Harness) / float64(nmBytes(sparse.Harness)); math.Abs(got-sparse.Value) > 0.005 {
		t.Errorf("%s: %v as 2:4, %v on the page", sparse.ID, got, sparse.Value)
	}
	if got := dense(sparse.Page) / float64(csrBytes(sparse.Page)); got >= 1 {
		t.Errorf("%s: %v as CSR at 30%% zeros, want below 1", sparse.ID, got)
	}

	step := mustRow(t, "iter-prune/sparsity-at-step-10")
	if got := 100 * step.Page.Float("target_sparsity", 0); got != step.Value {
		t.Errorf("%s: target %v%%, %v on the page", step.ID, got, step.Value)
	}
}
