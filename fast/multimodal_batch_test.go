package fast_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

func TestMultiModalBatchIsTwoLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := spec.DefaultMultiModalBatchConfig()
		config.MaxBatchSize = rapid.SampledFrom([]int{1, 2, 3, math.MaxInt}).Draw(t, "batch size")
		config.MaxWaitRounds = rapid.IntRange(0, 3).Draw(t, "max wait rounds")
		batcher, err := fast.NewMultiModalBatch(config)
		if err != nil {
			t.Fatal(err)
		}
		model := batchLists{config: config}
		var batch []spec.BatchSlot
		next := func(t *rapid.T) {
			if err := batcher.NextBatch(&batch); err != nil {
				t.Fatal(err)
			}
			if want := model.next(); !slices.Equal(batch, want) {
				t.Fatalf("batch %+v, want %+v", batch, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"next": next,
			"add": func(t *rapid.T) {
				modality := rapid.IntRange(0, 1).Draw(t, "modality")
				slot := spec.BatchSlot{
					ID:       rapid.Int64().Draw(t, "id"),
					Modality: batchModalities[modality],
					TextLen:  rapid.IntRange(0, 2048).Draw(t, "text"), VisionTokens: rapid.IntRange(0, 256).Draw(t, "vision"),
				}
				priority := rapid.IntRange(0, 7).Draw(t, "priority")
				if err := batcher.AddRequest(slot.ID, slot.Modality, slot.TextLen, slot.VisionTokens, priority); err != nil {
					t.Fatal(err)
				}
				model.pending[modality] = append(model.pending[modality], listedRequest{slot, priority, 0})
			},
			"bad": func(t *rapid.T) {
				modality := rapid.SampledFrom(batchModalities[:]).Draw(t, "modality")
				length, visionTokens, priority := 1, 1, 1
				switch rapid.IntRange(0, 3).Draw(t, "bad") {
				case 0:
					modality = "audio"
				case 1:
					length = rapid.SampledFrom([]int{-1, 2049, math.MinInt}).Draw(t, "text")
				case 2:
					visionTokens = rapid.SampledFrom([]int{-1, 257, math.MaxInt}).Draw(t, "vision")
				case 3:
					priority = rapid.SampledFrom([]int{-1, 8, 64, math.MinInt}).Draw(t, "priority")
				}
				if err := batcher.AddRequest(0, modality, length, visionTokens, priority); !errors.Is(err, spec.Invalid) {
					t.Fatalf("%q, %d, %d, priority %d: %v", modality, length, visionTokens, priority, err)
				}
			},
			"": func(t *rapid.T) {
				text, vision := len(model.pending[0]), len(model.pending[1])
				if batcher.PendingText() != text || batcher.PendingVision() != vision {
					t.Fatalf("pending %d and %d, want %d and %d", batcher.PendingText(), batcher.PendingVision(), text, vision)
				}
				if got := batcher.Stats(); got != model.stats {
					t.Fatalf("stats %+v, want %+v", got, model.stats)
				}
			},
		})
		for len(model.pending[0])+len(model.pending[1]) > 0 {
			next(t)
		}
	})
}

func TestMultiModalBatchRefusesABadConfig(t *testing.T) {
	config := spec.DefaultMultiModalBatchConfig()
	config.MaxWaitRounds = -1
	if batcher, err := fast.NewMultiModalBatch(config); batcher != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("max_wait_rounds -1: %v, %v", batcher, err)
	}
}

func TestMultiModalBatchAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, wait := range []int{0, 3} {
		config := spec.DefaultMultiModalBatchConfig()
		config.MaxWaitRounds = wait
		batcher, err := fast.NewMultiModalBatch(config)
		if err != nil {
			t.Fatal(err)
		}
		var batch []spec.BatchSlot
		fillAndDrain := func() {
			for i := range 50 {
				err = errors.Join(err, batcher.AddRequest(int64(i), batchModalities[i%2], 128, 196, i%spec.PriorityLevels))
			}
			for batcher.PendingText()+batcher.PendingVision() > 0 {
				err = errors.Join(err, batcher.NextBatch(&batch))
			}
		}
		fillAndDrain()
		if allocations := testing.AllocsPerRun(20, fillAndDrain); allocations != 0 || err != nil {
			t.Errorf("max_wait_rounds %d: %v allocations, %v", wait, allocations, err)
		}
	}
}

var batchModalities = [2]spec.Modality{spec.Text, spec.Vision}

// batchLists is the model: a list a modality, in order of arrival.
type batchLists struct {
	config  spec.MultiModalBatchConfig
	pending [2][]listedRequest // text, vision
	stats   spec.MultiModalBatchStats
}

type listedRequest struct {
	slot           spec.BatchSlot
	priority, seen int
}

func (m *batchLists) next() (batch []spec.BatchSlot) {
	overdue := func(r listedRequest) bool { return m.config.MaxWaitRounds > 0 && r.seen >= m.config.MaxWaitRounds }
	var longest [2]int // the longest overdue wait of each modality
	for modality, requests := range m.pending {
		for _, r := range requests {
			if overdue(r) {
				longest[modality] = max(longest[modality], r.seen)
			}
		}
	}
	modality := 0
	if longest[1] > longest[0] || (longest[1] == longest[0] && (longest[1] > 0 || len(m.pending[1]) >= len(m.pending[0]))) {
		modality = 1
	}
	requests := slices.Clone(m.pending[modality])
	slices.SortStableFunc(requests, func(a, b listedRequest) int {
		switch {
		case overdue(a) && overdue(b):
			return 0
		case overdue(a):
			return -1
		case overdue(b):
			return 1
		}
		return b.priority - a.priority
	})
	for _, r := range requests[:min(len(requests), m.config.MaxBatchSize)] {
		batch = append(batch, r.slot)
		i := slices.Index(m.pending[modality], r)
		m.pending[modality] = slices.Delete(m.pending[modality], i, i+1)
	}
	if len(batch) == 0 {
		return nil
	}
	for _, requests := range m.pending {
		for i := range requests {
			requests[i].seen++
		}
	}
	m.stats.Batches++
	if modality == 0 {
		m.stats.TextSlots += len(batch)
	} else {
		m.stats.VisionSlots += len(batch)
	}
	return batch
}
