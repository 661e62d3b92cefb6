package audit

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/spec"
)

// dataDir is the folder of real inputs: that beside the project, or the one that
// SQUISHSPEC_DATA says. Where there is none, the test is skipped.
func dataDir(t *testing.T) string {
	dir, given := os.LookupEnv("SQUISHSPEC_DATA")
	if !given {
		dir = filepath.FromSlash("../../../shared/data")
	}
	if _, err := os.Stat(dir); err != nil {
		if given {
			t.Fatalf("SQUISHSPEC_DATA: %v", err)
		}
		t.Skipf("SKIPPED: NOT RUN ON REAL TRACES: they are not here, and SQUISHSPEC_DATA names no other folder (%v)", err)
	}
	return dir
}

// traceAudit is an audit whose claims need no quality of a model.
func traceAudit(t *testing.T, impl spec.Implementation) *Audit {
	model, err := tiny.Model()
	if err != nil {
		t.Fatal(err)
	}
	return &Audit{Options: Options{Subject: &Subject{Model: model}, Implementation: impl, Seed: 1}}
}

// smallTrace draws requests that share prefixes, and blocks that come back anywhere.
func smallTrace(r *rand.Rand, requests, blocks int) (trace prefixTrace) {
	for range requests {
		request := r.Perm(blocks)[:1+r.IntN(blocks)]
		if len(trace) > 0 && r.IntN(2) == 0 {
			request = trace[r.IntN(len(trace))]
			request = request[:1+r.IntN(len(request))]
		}
		trace = append(trace, request)
	}
	return trace
}

// lru is a list of blocks, the latest last.
func lru(trace prefixTrace, capacity int) (n int) {
	var held []int
	for _, request := range trace {
		broken := false
		for _, b := range request {
			if at := slices.Index(held, b); at >= 0 {
				held = slices.Delete(held, at, at+1)
				if !broken {
					n++
				}
			} else {
				broken = true
			}
			if held = append(held, b); len(held) > capacity {
				held = held[1:]
			}
		}
	}
	return n
}

func TestReachIsTheLRUOfEveryCapacity(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		trace := smallTrace(r, 25, 9)
		reach := trace.reach()
		for capacity := 1; capacity <= 10; capacity++ {
			if got, want := hits(reach, capacity), lru(trace, capacity); got != want {
				t.Fatalf("%v, capacity %d: %d hits, want %d", trace, capacity, got, want)
			}
		}
	}
}

// best is the most hits of any policy that may let go any block, tried all.
func best(uses []int, held uint, capacity int, known map[[2]int]int) (most int) {
	if len(uses) == 0 {
		return 0
	}
	key := [2]int{len(uses), int(held)}
	if n, ok := known[key]; ok {
		return n
	}
	now := uint(1) << uses[0]
	hit := 0
	if held&now != 0 {
		hit = 1
	}
	all, n := held|now, 0
	for block := all; block != 0; block &= block - 1 {
		n++
	}
	if n <= capacity {
		most = best(uses[1:], all, capacity, known)
	} else {
		for block := all; block != 0; block &= block - 1 {
			most = max(most, best(uses[1:], all&^(block&-block), capacity, known))
		}
	}
	known[key] = hit + most
	return hit + most
}

func TestBeladyIsTheBestOfAllPolicies(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		trace := smallTrace(r, 10, 6)
		uses := slices.Concat(trace...)
		for capacity := 1; capacity <= 6; capacity++ {
			prefix, all := trace.belady(capacity)
			if want := best(uses, 0, capacity, map[[2]int]int{}); all != want {
				t.Fatalf("%v, capacity %d: %d hits, want %d", trace, capacity, all, want)
			}
			if least := lru(trace, capacity); prefix > all || least > all {
				t.Fatalf("%v, capacity %d: %d hits of prefixes and %d of LRU, %d in all", trace, capacity, prefix, least, all)
			}
		}
	}
	if prefix, all := (prefixTrace{{1, 2, 3}, {4, 2, 3}, {1, 2}}).belady(4); prefix != 2 || all != 4 {
		t.Errorf("%d hits of prefixes and %d in all, want 2 and 4", prefix, all)
	}
}

func TestTieringsHoldWhatTheySay(t *testing.T) {
	for _, distinct := range []int{1, 99, 1344, 5000, 200_000} {
		list := tierings(distinct)
		if !slices.ContainsFunc(list, func(c spec.HierarchicalKVConfig) bool {
			return c.HotCapacity == 64 && c.WarmCapacity == 256 && c.ColdCapacity == 1024
		}) {
			t.Errorf("%d blocks: no default tiers among %v", distinct, list)
		}
		if most := tiered(list[len(list)-1]); most < distinct {
			t.Errorf("%d blocks: the most that tiers hold is %d", distinct, most)
		}
		for _, c := range list {
			if err := c.Validate(); err != nil {
				t.Errorf("%d blocks: %v", distinct, err)
			}
		}
	}
}

func TestTieredHitsOfDrawnSessions(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	f := &Finding{}
	if err := tieredHits(context.Background(), a, f); err != nil {
		t.Fatal(err)
	}
	if f.Verdict != Conditional || f.Figure == nil || !f.Exact || len(f.Curve.Rows) < 5 {
		t.Errorf("%+v", f)
	}
	for i, row := range f.Curve.Rows {
		hot, warm, cold, all, bound := row[4], row[5], row[6], row[7], row[10]
		if math.Abs(hot+warm+cold-all) > 1e-9 || all > bound || i > 0 && all < f.Curve.Rows[i-1][7] {
			t.Errorf("%v", row)
		}
	}
}

// A store that holds more than it says is no LRU stack of its capacity.
func TestTieredHitsAreThoseOfAnLRUStack(t *testing.T) {
	impl := fast.Implementation()
	honest := impl.HierarchicalKV
	impl.HierarchicalKV = func(c spec.HierarchicalKVConfig) (spec.HierarchicalKV, error) {
		c.ColdCapacity += 5
		return honest(c)
	}
	f := &Finding{}
	err := tieredHits(context.Background(), traceAudit(t, impl), f)
	if err == nil || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
		t.Errorf("%v, %v", err, f.Verdict)
	}
}

// The figures are an independent program's.
func TestMooncake(t *testing.T) {
	trace, err := readRequests(dataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	all, distinct := trace.blocks()
	if len(trace) != 12_031 || all != 288_500 || distinct != 182_790 {
		t.Errorf("%d requests, %d blocks, %d different", len(trace), all, distinct)
	}
	reach := trace.reach()
	for capacity, want := range map[int]float64{distinct: 36.641, 30_000: 32.571, 10_000: 21.116, 1_000: 4.447} {
		if got := 100 * float64(hits(reach, capacity)) / float64(all); math.Abs(got-want) > 0.0005 {
			t.Errorf("%d blocks: %.4f%%, want %.3f%%", capacity, got, want)
		}
	}
}

// spoil writes a file below a folder.
func spoil(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// refused checks that an error is of one line, that names where, and that there is
// no verdict.
func refused(t *testing.T, f *Finding, err error, where string) {
	t.Helper()
	if spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), where) || strings.Contains(err.Error(), "\n") || f.Verdict != "" {
		t.Errorf("%v, verdict %q; want an Invalid error with %q", err, f.Verdict, where)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(tieredHits).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("no file: %v, %v", err, f.Verdict)
	}
	good := `{"timestamp": 5, "input_length": 600, "output_length": 0, "hash_ids": [1, 2]}`
	for _, c := range []struct{ line, want string }{
		{``, "a JSON object"}, {good[:40], "a JSON object"}, {`[]`, "a JSON object"},
		{`{"timestamp": 5, "input_length": 600, "output_length": 1}`, "the fields"},
		{`{"input_length": 600, "output_length": 1, "hash_ids": [1, 2]}`, "the fields"},
		{`{"timestamp": 5, "input_length": 600, "hash_ids": [1, 2]}`, "the fields"},
		{`{"timestamp": 4, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}`, "timestamp"},
		{`{"timestamp": 5, "input_length": -1, "output_length": 1, "hash_ids": []}`, "input_length"},
		{`{"timestamp": 5, "input_length": 600, "output_length": -1, "hash_ids": [1, 2]}`, "output_length"},
		{`{"timestamp": 5, "input_length": 600, "output_length": 1, "hash_ids": [1]}`, "hash_ids: want 2"},
		{`{"timestamp": 5.5, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}`, "a JSON object"},
		{`{"timestamp": 5, "x": "` + strings.Repeat("x", 1<<20) + `"}`, "can be read"},
	} {
		spoil(t, a.Data, dataRequests, good+"\n"+c.line+"\n"+good+"\n")
		f := &Finding{}
		refused(t, f, tieredHits(context.Background(), a, f), dataRequests+", line 2: ")
		if err := tieredHits(context.Background(), a, f); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %q", c.line, err, c.want)
		}
	}
	spoil(t, a.Data, dataRequests, "")
	f = &Finding{}
	refused(t, f, tieredHits(context.Background(), a, f), dataRequests)
}

// A prompt of one block comes back from hot. One that is longer than hot, and comes
// back at once, comes from where its first block has sunk to.
func TestTheTieredVerdictFollowsTheHits(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	for _, c := range []struct {
		name    string
		blocks  int
		prompts []int // the number of the first block of each
		want    Verdict
	}{
		{"hot", 1, []int{1, 1}, Supported}, {"below hot", 130, []int{1, 1}, Refuted},
		{"hot where it is large", 2, []int{1, 1}, Conditional}, {"nothing comes back", 2, []int{1, 3}, Unmeasured},
	} {
		var lines strings.Builder
		for _, first := range c.prompts {
			var ids []string
			for id := range c.blocks {
				ids = append(ids, fmt.Sprint(first+id))
			}
			fmt.Fprintf(&lines, `{"timestamp": 0, "input_length": %d, "output_length": 1, "hash_ids": [%s]}`+"\n", c.blocks*prefixBlock, strings.Join(ids, ", "))
		}
		spoil(t, a.Data, dataRequests, lines.String())
		f := &Finding{}
		if err := tieredHits(context.Background(), a, f); err != nil || f.Verdict != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, f.Verdict, err, c.want)
		}
	}
}
