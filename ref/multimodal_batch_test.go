package ref_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

// Three images and two prompts, in batches of two: vision's queue is the longer,
// then text's. Within each the higher priority goes first.
func ExampleNewMultiModalBatch() {
	config := spec.DefaultMultiModalBatchConfig()
	config.MaxBatchSize = 2
	batcher, err := ref.NewMultiModalBatch(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range []struct {
		id       int64
		modality spec.Modality
		priority int
	}{
		{1, spec.Text, 0}, {2, spec.Vision, 0}, {3, spec.Vision, 5}, {4, spec.Vision, 0}, {5, spec.Text, 7},
	} {
		if err := batcher.AddRequest(r.id, r.modality, 128, 196, r.priority); err != nil {
			fmt.Println(err)
			return
		}
	}
	var batch []spec.BatchSlot
	for batcher.PendingText()+batcher.PendingVision() > 0 {
		if err := batcher.NextBatch(&batch); err != nil {
			fmt.Println(err)
			return
		}
		ids := []int64{}
		for _, slot := range batch {
			ids = append(ids, slot.ID)
		}
		fmt.Println(batch[0].Modality, ids)
	}
	fmt.Printf("%+v\n", batcher.Stats())
	// Output:
	// vision [3 2]
	// text [5 1]
	// vision [4]
	// {Batches:3 TextSlots:2 VisionSlots:3}
}

func TestMultiModalBatchWithoutWaitingServesTheLongerQueue(t *testing.T) {
	b := newBatcher(t, 2, 0)
	b.add("t1 t2 t3 v4 v5")
	b.expect("t1 t2") // 3 against 2
	b.expect("v4 v5") // 1 against 2
	b.add("v6")
	b.expect("v6") // 1 against 1
	b.expect("t3")
	b.expect("")
	if got, want := b.Stats(), (spec.MultiModalBatchStats{Batches: 4, TextSlots: 3, VisionSlots: 3}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestMultiModalBatchServesHigherPrioritiesFirstThenFirstCome(t *testing.T) {
	b := newBatcher(t, 3, 0)
	b.add("t1/0 t2/7 t3/3 t4/7 t5/3")
	b.expect("t2 t4 t3")
	b.add("t6/4")
	b.expect("t6 t5 t1")
}

func TestMultiModalBatchServesTheOverdueModality(t *testing.T) {
	b := newBatcher(t, 2, 2)
	b.add("t1 v2 v3 v4 v5 v6 v7")
	b.expect("v2 v3")
	b.add("v8 v9")
	b.expect("v4 v5") // t1 has seen one batch
	b.add("v10 v11")
	b.expect("v6 v7") // both have seen two, and vision wins a draw
	b.expect("t1")    // three, against two of v8
	b.expect("v8 v9")
}

func TestMultiModalBatchServesTheLongerWaitOfTwoOverdue(t *testing.T) {
	b := newBatcher(t, 1, 1)
	b.add("t1 t2 t3 v4")
	b.expect("t1")
	b.add("v5 v6 v7")
	b.expect("v4") // a draw of one batch each
	b.expect("t2") // two, against one of v5
	b.expect("t3")
	b.expect("v5")
}

func TestMultiModalBatchOverdueRequestsLeadTheirBatch(t *testing.T) {
	b := newBatcher(t, 3, 1)
	b.add("t1/2 v9 v10 v11 v12 t2/0 t3/5")
	b.expect("v9 v10 v11")
	b.expect("v12")
	b.add("t4/1 t5/7")
	b.expect("t1 t2 t3") // overdue: by arrival, whatever their priority
	b.add("t6/7")
	b.expect("t4 t5 t6") // t4 and t5 are overdue, t6 is not
}

func TestMultiModalBatchAfterTheOverdueComePriorities(t *testing.T) {
	b := newBatcher(t, 3, 1)
	b.add("t1/0 v2")
	b.expect("v2")
	b.add("t3/1 t4/7 t5/3")
	b.expect("t1 t4 t5")
	b.expect("t3")
}

func TestMultiModalBatchEmptyBatchesAreNoWait(t *testing.T) {
	b := newBatcher(t, 1, 1)
	b.expect("")
	b.expect("")
	b.add("t1/0 t2/7")
	b.expect("t2")
	b.add("t3/7")
	b.expect("t1")
}

func TestMultiModalBatchBoundsTheWait(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 4).Draw(t, "batch size")
		rounds := rapid.IntRange(1, 5).Draw(t, "max wait rounds")
		b := newBatcher(t, size, rounds)
		type arrival struct{ before, own, other int }
		var all []arrival
		var sinceBatch []int64
		batches := 0
		next := func() {
			for _, id := range sinceBatch {
				// Requests that come before the next batch have waited as long.
				a := &all[id]
				if a.other = b.PendingVision(); b.modality[id] == spec.Vision {
					a.other = b.PendingText()
				}
			}
			sinceBatch = sinceBatch[:0]
			batches++
			for _, slot := range b.next() {
				a := all[slot.ID]
				bound := rounds + ceilDiv(a.own, size) + ceilDiv(a.other, size)
				if wait := batches - a.before; wait > bound {
					t.Fatalf("request %d left in batch %d after it came, want at most %d", slot.ID, wait, bound)
				}
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.IntRange(0, 3*size).Draw(t, "arrivals") {
				id, modality := int64(len(all)), spec.Text
				if rapid.Bool().Draw(t, "vision") {
					modality = spec.Vision
				}
				b.request(id, modality, rapid.IntRange(0, 7).Draw(t, "priority"))
				own := b.PendingText()
				if modality == spec.Vision {
					own = b.PendingVision()
				}
				all = append(all, arrival{before: batches, own: own})
				sinceBatch = append(sinceBatch, id)
			}
			if b.PendingText()+b.PendingVision() > 0 {
				next()
			}
		}
		for b.PendingText()+b.PendingVision() > 0 {
			next()
		}
	})
}

func TestMultiModalBatchHandsOutEveryRequestOnceAndUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBatcher(t, rapid.IntRange(1, 4).Draw(t, "batch size"), rapid.IntRange(0, 3).Draw(t, "max wait rounds"))
		waiting := map[spec.BatchSlot]bool{}
		pending := map[spec.Modality]int{}
		next := func() {
			batch := b.next()
			for _, slot := range batch {
				if !waiting[slot] || slot.Modality != batch[0].Modality {
					t.Fatalf("%+v in batch %+v", slot, batch)
				}
				delete(waiting, slot)
				pending[slot.Modality]--
			}
			if want := len(waiting); b.PendingText()+b.PendingVision() != want || b.PendingText() != pending[spec.Text] {
				t.Fatalf("pending %d + %d, want %v", b.PendingText(), b.PendingVision(), pending)
			}
		}
		for i := range rapid.IntRange(1, 30).Draw(t, "calls") {
			if rapid.Bool().Draw(t, "next") {
				next()
				continue
			}
			slot := spec.BatchSlot{
				ID: int64(i), Modality: rapid.SampledFrom([]spec.Modality{spec.Text, spec.Vision}).Draw(t, "modality"),
				TextLen: rapid.IntRange(0, 2048).Draw(t, "text"), VisionTokens: rapid.IntRange(0, 256).Draw(t, "vision"),
			}
			if err := b.AddRequest(slot.ID, slot.Modality, slot.TextLen, slot.VisionTokens, i%spec.PriorityLevels); err != nil {
				t.Fatal(err)
			}
			waiting[slot] = true
			pending[slot.Modality]++
		}
		for len(waiting) > 0 {
			before := len(waiting)
			if next(); len(waiting) == before {
				t.Fatalf("%d requests never leave", before)
			}
		}
	})
}

func TestMultiModalBatchRefusesBadArgumentsAndChangesNothing(t *testing.T) {
	b := newBatcher(t, 2, 1)
	b.add("t1")
	for _, c := range []struct {
		modality                        spec.Modality
		textLen, visionTokens, priority int
	}{
		{"audio", 1, 1, 0}, {"", 1, 1, 0}, {"Text", 1, 1, 0},
		{spec.Text, -1, 1, 0}, {spec.Text, 2049, 1, 0}, {spec.Vision, 2049, 1, 0},
		{spec.Vision, 1, -1, 0}, {spec.Vision, 1, 257, 0}, {spec.Text, 1, 257, 0},
		{spec.Text, 1, 1, -1}, {spec.Text, 1, 1, 8},
	} {
		if err := b.AddRequest(2, c.modality, c.textLen, c.visionTokens, c.priority); !errors.Is(err, spec.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := b.AddRequest(3, spec.Text, 0, 256, 7); err != nil {
		t.Errorf("at the limits: %v", err)
	}
	b.expect("t3 t1")
	b.expect("")
	config := spec.DefaultMultiModalBatchConfig()
	config.MaxBatchSize = 0
	if m, err := ref.NewMultiModalBatch(config); m != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("batches of 0: %v, %v", m, err)
	}
}

// A batcher speaks in requests such as "t1/7": text, id 1, priority 7.
type batcher struct {
	spec.MultiModalBatch
	t        rapid.TB
	modality map[int64]spec.Modality
}

func newBatcher(t rapid.TB, size, maxWaitRounds int) batcher {
	t.Helper()
	config := spec.DefaultMultiModalBatchConfig()
	config.MaxBatchSize, config.MaxWaitRounds = size, maxWaitRounds
	m, err := ref.NewMultiModalBatch(config)
	if err != nil {
		t.Fatal(err)
	}
	return batcher{m, t, map[int64]spec.Modality{}}
}

func (b batcher) request(id int64, modality spec.Modality, priority int) {
	b.t.Helper()
	if err := b.AddRequest(id, modality, 1, 1, priority); err != nil {
		b.t.Fatal(err)
	}
	b.modality[id] = modality
}

func (b batcher) add(requests string) {
	b.t.Helper()
	for _, r := range strings.Fields(requests) {
		var id int64
		var priority int
		modality := spec.Text
		if r[0] == 'v' {
			modality = spec.Vision
		}
		if n, _ := fmt.Sscanf(r[1:], "%d/%d", &id, &priority); n == 0 {
			b.t.Fatalf("no request: %q", r)
		}
		b.request(id, modality, priority)
	}
}

func (b batcher) next() []spec.BatchSlot {
	b.t.Helper()
	var batch []spec.BatchSlot
	if err := b.NextBatch(&batch); err != nil {
		b.t.Fatal(err)
	}
	return batch
}

func (b batcher) expect(want string) {
	b.t.Helper()
	var got []string
	for _, slot := range b.next() {
		got = append(got, fmt.Sprintf("%.1s%d", slot.Modality, slot.ID))
	}
	if !slices.Equal(got, strings.Fields(want)) {
		b.t.Errorf("batch %v, want %s", got, want)
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
