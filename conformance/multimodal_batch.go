package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var multiModalBatch = spec.ModuleByName("multimodal-batch")

var multiModalBatchModule = &module{
	spec: multiModalBatch,
	laws: map[string]func(*trial){
		"queues":        batchQueues,
		"conservation":  batchConservation,
		"homogeneous":   batchHomogeneous,
		"longest-first": batchLongestFirst,
		"fifo":          batchFIFO,
		"priority":      batchPriority,
		"interleaving":  batchInterleaving,
		"bounded-wait":  batchBoundedWait,
		"stats":         batchStats,
	},
	program: batchProgram,
	badConfigs: map[string]any{
		"max_batch_size 0":     batchConfig(0, 8, 8, 0),
		"max_batch_size −1":    batchConfig(-1, 8, 8, 0),
		"max_text_len 0":       batchConfig(1, 0, 8, 0),
		"max_text_len −8":      batchConfig(1, -8, 8, 0),
		"max_vision_tokens 0":  batchConfig(1, 8, 0, 0),
		"max_vision_tokens −8": batchConfig(1, 8, -8, 0),
		"max_wait_rounds −1":   batchConfig(1, 8, 8, -1),
	},
	badSteps: batchBadSteps,
	rows: []row{
		{"multimodal-batch/add-request", batchAddRow, (*trial).sameResult},
		{"multimodal-batch/next-batch", batchNextRow, (*trial).sameResult},
	},
}

func batchConfig(size, text, vision, wait int) spec.MultiModalBatchConfig {
	return spec.MultiModalBatchConfig{MaxBatchSize: size, MaxTextLen: text, MaxVisionTokens: vision, MaxWaitRounds: wait}
}

// batchRowCalls is the number of calls a round of a row.
const batchRowCalls = 64

// rowPriority is the priority of a row's request i: every one in turn for the
// page, which says priority queue, and none for the harness.
func rowPriority(name spec.WorkloadName, i int) int {
	if name == spec.PageWorkload {
		return i % spec.PriorityLevels
	}
	return 0
}

// drain hands out all that is pending, batch by batch in the same memory.
func drain(m spec.MultiModalBatch, batch *[]spec.BatchSlot, visit func()) error {
	for {
		if err := m.NextBatch(batch); err != nil || len(*batch) == 0 {
			return err
		}
		visit()
	}
}

// batchAddRow adds requests to empty queues.
func batchAddRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	m, err := impl.MultiModalBatch(spec.DefaultMultiModalBatchConfig())
	modality := spec.Modality(w.Text("modality", string(spec.Text)))
	text, vision := w.Int("text_len", 0), w.Int("vision_tokens", 0)
	var batch []spec.BatchSlot
	return timing{
		refill: func() error { return drain(m, &batch, func() {}) },
		calls:  batchRowCalls,
		call:   func(i int) error { return m.AddRequest(int64(i), modality, text, vision, rowPriority(name, i)) },
		result: func() (any, error) {
			var slots []spec.BatchSlot
			err := drain(m, &batch, func() { slots = append(slots, batch...) })
			return slots, err
		},
	}, err
}

// batchNextRow takes full batches from queues of text and vision requests.
func batchNextRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultMultiModalBatchConfig()
	c.MaxBatchSize = w.Int("max_batch_size", c.MaxBatchSize)
	m, err := impl.MultiModalBatch(c)
	var rest []spec.BatchSlot
	batches := make([][]spec.BatchSlot, batchRowCalls)
	return timing{
		refill: func() error {
			if err := drain(m, &rest, func() {}); err != nil {
				return err
			}
			for i := range batchRowCalls * c.MaxBatchSize {
				modality, vision := spec.Text, 0
				if i%2 == 1 {
					modality, vision = spec.Vision, 196
				}
				if err := m.AddRequest(int64(i), modality, 128, vision, rowPriority(name, i/2)); err != nil {
					return err
				}
			}
			return nil
		},
		calls:  batchRowCalls,
		call:   func(i int) error { return m.NextBatch(&batches[i]) },
		result: func() (any, error) { return batches, nil },
	}, err
}

// A request is what add_request is called with.
type request struct {
	slot     spec.BatchSlot
	priority int
}

func (r request) step() step {
	return call(multiModalBatch, "add_request", r.slot.ID, r.slot.Modality, r.slot.TextLen, r.slot.VisionTokens, r.priority)
}

func (r request) addTo(t *trial, m spec.MultiModalBatch) {
	t.Helper()
	t.must(m.AddRequest(r.slot.ID, r.slot.Modality, r.slot.TextLen, r.slot.VisionTokens, r.priority))
}

// drawBatchConfig draws a config with or without the waiting rule.
func drawBatchConfig(t *trial) spec.MultiModalBatchConfig {
	return batchConfig(size(t, 1, 4, "max_batch_size"), size(t, 1, 9, "max_text_len"), size(t, 1, 9, "max_vision_tokens"), size(t, 0, 3, "max_wait_rounds"))
}

func drawModality(t *trial) spec.Modality {
	return rapid.SampledFrom([]spec.Modality{spec.Text, spec.Vision}).Draw(t.T, "modality")
}

// drawPriority draws mostly from a few, so that equals and their order matter.
func drawPriority(t *trial) int {
	return rapid.SampledFrom([]int{0, 0, 1, 7, 2, 3, 4, 5, 6}).Draw(t.T, "priority")
}

// drawRequest draws a request of that id, up to the limits of both lengths.
func drawRequest(t *trial, c spec.MultiModalBatchConfig, id int64) request {
	return request{
		slot: spec.BatchSlot{
			ID: id, Modality: drawModality(t),
			TextLen: size(t, 0, c.MaxTextLen, "text_len"), VisionTokens: size(t, 0, c.MaxVisionTokens, "vision_tokens"),
		},
		priority: drawPriority(t),
	}
}

// drawID draws an id of any size, often one that came before.
func drawID(t *trial) int64 {
	return rapid.SampledFrom([]int64{0, 1, 2, -1, math.MaxInt64, math.MinInt64}).Draw(t.T, "req_id")
}

func batchProgram(t *trial, _ spec.Variant) program {
	c := drawBatchConfig(t)
	p := program{config: c}
	for range size(t, 1, 30, "calls") {
		switch rapid.IntRange(0, 6).Draw(t.T, "call") {
		case 0, 1:
			p.steps = append(p.steps, call(multiModalBatch, "next_batch"))
		case 2:
			p.steps = append(p.steps, call(multiModalBatch, "pending_text"), call(multiModalBatch, "pending_vision"))
		default:
			p.steps = append(p.steps, drawRequest(t, c, drawID(t)).step())
		}
	}
	return p
}

func batchBadSteps(t *trial, config any) []badStep {
	c := config.(spec.MultiModalBatchConfig)
	bad := func(what string, spoil func(*request)) badStep {
		r := drawRequest(t, c, drawID(t))
		spoil(&r)
		return badStep{what, r.step(), spec.Invalid}
	}
	return []badStep{
		bad("no modality", func(r *request) { r.slot.Modality = "" }),
		bad("modality audio", func(r *request) { r.slot.Modality = "audio" }),
		bad("modality Text", func(r *request) { r.slot.Modality = "Text" }),
		bad("text_len −1", func(r *request) { r.slot.TextLen = -1 }),
		bad("the least text_len", func(r *request) { r.slot.TextLen = math.MinInt }),
		bad("text_len over its limit", func(r *request) { r.slot.TextLen = c.MaxTextLen + 1 }),
		bad("the greatest text_len", func(r *request) { r.slot.TextLen = math.MaxInt }),
		bad("text_len of a vision request over its limit", func(r *request) {
			r.slot.Modality, r.slot.TextLen = spec.Vision, c.MaxTextLen+1
		}),
		bad("vision_tokens −1", func(r *request) { r.slot.VisionTokens = -1 }),
		bad("vision_tokens over their limit", func(r *request) { r.slot.VisionTokens = c.MaxVisionTokens + 1 }),
		bad("the greatest vision_tokens", func(r *request) { r.slot.VisionTokens = math.MaxInt }),
		bad("vision_tokens of a text request over their limit", func(r *request) {
			r.slot.Modality, r.slot.VisionTokens = spec.Text, c.MaxVisionTokens+1
		}),
		bad("priority −1", func(r *request) { r.priority = -1 }),
		bad("priority 8", func(r *request) { r.priority = spec.PriorityLevels }),
		bad("the greatest priority", func(r *request) { r.priority = math.MaxInt }),
	}
}

// batchModel is one list a modality, in order of arrival, searched anew for every
// slot.
type batchModel struct {
	config spec.MultiModalBatchConfig
	lists  map[spec.Modality][]modelRequest
	stats  spec.MultiModalBatchStats
}

type modelRequest struct {
	request
	came int // batches that had gone before
}

func (m *batchModel) add(r request) {
	m.lists[r.slot.Modality] = append(m.lists[r.slot.Modality], modelRequest{r, m.stats.Batches})
}

func (m *batchModel) isOverdue(r modelRequest) bool {
	return m.config.MaxWaitRounds > 0 && m.stats.Batches-r.came >= m.config.MaxWaitRounds
}

// longestWait is the wait of the overdue request of a list that has seen the most
// batches go, 0 where none is overdue.
func (m *batchModel) longestWait(list []modelRequest) int {
	longest := 0
	for _, r := range list {
		if m.isOverdue(r) {
			longest = max(longest, m.stats.Batches-r.came)
		}
	}
	return longest
}

func (m *batchModel) served() spec.Modality {
	text, vision := m.lists[spec.Text], m.lists[spec.Vision]
	textRank := [2]int{m.longestWait(text), len(text)}
	visionRank := [2]int{m.longestWait(vision), len(vision)}
	if textRank[0] > 0 || visionRank[0] > 0 {
		textRank[1], visionRank[1] = 0, 0
	}
	if slices.Compare(visionRank[:], textRank[:]) >= 0 {
		return spec.Vision
	}
	return spec.Text
}

// leaves returns the place of the request that leaves a list next. Of several
// that nothing sets apart it is the first.
func (m *batchModel) leaves(list []modelRequest) int {
	best, bestRank := -1, -1
	for i, r := range list {
		rank := r.priority
		if m.isOverdue(r) {
			rank = spec.PriorityLevels
		}
		if rank > bestRank {
			best, bestRank = i, rank
		}
	}
	return best
}

func (m *batchModel) next() (batch []spec.BatchSlot) {
	modality := m.served()
	for len(batch) < m.config.MaxBatchSize && len(m.lists[modality]) > 0 {
		i := m.leaves(m.lists[modality])
		batch = append(batch, m.lists[modality][i].slot)
		m.lists[modality] = slices.Delete(m.lists[modality], i, i+1)
	}
	if len(batch) > 0 {
		m.stats.Batches++
		*map[spec.Modality]*int{spec.Text: &m.stats.TextSlots, spec.Vision: &m.stats.VisionSlots}[modality] += len(batch)
	}
	return batch
}

func batchQueues(t *trial) {
	c := drawBatchConfig(t)
	m, model := open(t, t.impl.MultiModalBatch, c), &batchModel{config: c, lists: map[spec.Modality][]modelRequest{}}
	add := func(*rapid.T) {
		r := drawRequest(t, c, drawID(t))
		r.addTo(t, m)
		model.add(r)
	}
	t.Repeat(map[string]func(*rapid.T){
		"add":      add,
		"add more": add,
		"next": func(*rapid.T) {
			var batch []spec.BatchSlot
			t.must(m.NextBatch(&batch))
			t.equal("batch", batch, model.next())
		},
		"": func(*rapid.T) {
			t.equal("pending_text", m.PendingText(), len(model.lists[spec.Text]))
			t.equal("pending_vision", m.PendingVision(), len(model.lists[spec.Vision]))
			t.equal("stats", m.Stats(), model.stats)
		},
	})
}

// A batchRound is a batch, and what surrounds it. Its requests have ids of their
// own.
type batchRound struct {
	pending      []request // when the batch was asked for, in order of arrival
	batch        []spec.BatchSlot
	text, vision int                       // pending after it
	stats        spec.MultiModalBatchStats // after it
}

// playBatches adds the requests that arrive in each of so many rounds, asks for a
// batch after each, and in the end for batches until one is empty. left are the
// requests that were never handed out.
func playBatches(t *trial, c spec.MultiModalBatchConfig, rounds int, arrive func(id func() int64) []request) (played []batchRound, left []request) {
	m := open(t, t.impl.MultiModalBatch, c)
	var pending []request
	ids := int64(0)
	id := func() int64 { ids++; return ids }
	next := func() int {
		round := batchRound{pending: slices.Clone(pending)}
		t.must(m.NextBatch(&round.batch))
		round.text, round.vision, round.stats = m.PendingText(), m.PendingVision(), m.Stats()
		for _, slot := range round.batch {
			pending = slices.DeleteFunc(pending, func(r request) bool { return r.slot.ID == slot.ID })
		}
		played = append(played, round)
		return len(round.batch)
	}
	for range rounds {
		for _, r := range arrive(id) {
			r.addTo(t, m)
			pending = append(pending, r)
		}
		next()
	}
	for range ids + 1 {
		if next() == 0 {
			break
		}
	}
	return played, pending
}

// playAnyBatches plays rounds in which anything arrives.
func playAnyBatches(t *trial, c spec.MultiModalBatchConfig) (played []batchRound, left []request) {
	return playBatches(t, c, size(t, 1, 8, "rounds"), func(id func() int64) (arrivals []request) {
		for range size(t, 0, 2*c.MaxBatchSize, "arrivals") {
			arrivals = append(arrivals, drawRequest(t, c, id()))
		}
		return arrivals
	})
}

// ofModality returns the requests of a modality.
func ofModality(requests []request, m spec.Modality) (own []request) {
	for _, r := range requests {
		if r.slot.Modality == m {
			own = append(own, r)
		}
	}
	return own
}

// placeOf returns the place of the request of that id, −1 where there is none.
func placeOf(requests []request, id int64) int {
	return slices.IndexFunc(requests, func(r request) bool { return r.slot.ID == id })
}

func batchConservation(t *trial) {
	played, left := playAnyBatches(t, drawBatchConfig(t))
	for _, round := range played {
		pending := slices.Clone(round.pending)
		for _, slot := range round.batch {
			i := placeOf(pending, slot.ID)
			t.holds(i >= 0, "%+v was handed out, and is not pending", slot)
			t.equal("slot", slot, pending[i].slot)
			pending = slices.Delete(pending, i, i+1)
		}
		t.equal("pending_text", round.text, len(ofModality(pending, spec.Text)))
		t.equal("pending_vision", round.vision, len(ofModality(pending, spec.Vision)))
	}
	t.holds(len(left) == 0, "%+v were never handed out", left)
}

func batchHomogeneous(t *trial) {
	c := drawBatchConfig(t)
	played, _ := playAnyBatches(t, c)
	for _, round := range played {
		if len(round.batch) == 0 {
			continue
		}
		modality := round.batch[0].Modality
		for _, slot := range round.batch {
			t.holds(slot.Modality == modality, "got %+v in a batch of %s", slot, modality)
		}
		want := min(c.MaxBatchSize, len(ofModality(round.pending, modality)))
		t.holds(len(round.batch) == want, "got a batch of %d, want %d", len(round.batch), want)
	}
}

func batchLongestFirst(t *trial) {
	c := drawBatchConfig(t)
	c.MaxWaitRounds = 0
	played, _ := playAnyBatches(t, c)
	batches := 0
	for _, round := range played {
		text, vision := len(ofModality(round.pending, spec.Text)), len(ofModality(round.pending, spec.Vision))
		t.holds((len(round.batch) == 0) == (text+vision == 0), "got a batch of %d with %d text and %d vision requests pending", len(round.batch), text, vision)
		if len(round.batch) > 0 {
			batches++
			got := round.batch[0].Modality
			t.holds((got == spec.Vision) == (vision >= text), "got a batch of %s with %d text and %d vision requests pending", got, text, vision)
		}
		t.equal("total_batches", round.stats.Batches, batches)
	}
}

// eachSlot calls visit for every slot with the requests of its modality that were
// pending then, in order of arrival, and its place among them. What was not
// pending is conservation's to judge.
func eachSlot(played []batchRound, visit func(pending []request, i int)) {
	for _, round := range played {
		pending := slices.Clone(round.pending)
		for _, slot := range round.batch {
			if i := placeOf(pending, slot.ID); i >= 0 {
				own := ofModality(pending, pending[i].slot.Modality)
				visit(own, placeOf(own, slot.ID))
				pending = slices.Delete(pending, i, i+1)
			}
		}
	}
}

func batchFIFO(t *trial) {
	played, _ := playAnyBatches(t, drawBatchConfig(t))
	eachSlot(played, func(pending []request, i int) {
		first := slices.IndexFunc(pending, func(r request) bool { return r.priority == pending[i].priority })
		t.holds(first == i, "%+v left before %+v, which came earlier", pending[i], pending[first])
	})
}

func batchPriority(t *trial) {
	c := drawBatchConfig(t)
	c.MaxWaitRounds = 0
	played, _ := playAnyBatches(t, c)
	eachSlot(played, func(pending []request, i int) {
		for _, other := range pending {
			t.holds(other.priority <= pending[i].priority, "%+v left while %+v was pending", pending[i], other)
		}
	})
}

func batchInterleaving(t *trial) {
	c := drawBatchConfig(t)
	apart, mixed := open(t, t.impl.MultiModalBatch, c), open(t, t.impl.MultiModalBatch, c)
	id := int64(0)
	for range size(t, 1, 8, "rounds") {
		var arrivals []request
		for range size(t, 0, 2*c.MaxBatchSize, "arrivals") {
			id++
			arrivals = append(arrivals, drawRequest(t, c, id))
		}
		for _, r := range arrivals {
			r.addTo(t, mixed)
		}
		for _, r := range append(ofModality(arrivals, spec.Text), ofModality(arrivals, spec.Vision)...) {
			r.addTo(t, apart)
		}
		var one, other []spec.BatchSlot
		t.must(apart.NextBatch(&one))
		t.must(mixed.NextBatch(&other))
		t.equal("batch of the requests text first, vision then, and mixed", one, other)
	}
}

// batchBoundedWait floods the queues: in every round come as many requests of one
// kind as may fill the batches for ever, and now and then another one, which must
// not starve.
func batchBoundedWait(t *trial) {
	c := drawBatchConfig(t)
	c.MaxBatchSize, c.MaxWaitRounds = size(t, 1, 3, "max_batch_size"), size(t, 1, 3, "max_wait_rounds")
	flood, kind := size(t, 0, c.MaxBatchSize+1, "flood"), drawRequest(t, c, 0)
	played, left := playBatches(t, c, size(t, 1, 16, "rounds"), func(id func() int64) (arrivals []request) {
		for range size(t, 0, 1, "others") {
			arrivals = append(arrivals, drawRequest(t, c, id()))
		}
		for range flood {
			kind.slot.ID = id()
			arrivals = append(arrivals, kind)
		}
		return arrivals
	})
	t.holds(len(left) == 0, "%+v were never handed out", left)
	bounds := map[int64]int{} // the last round in which a request may leave
	for i, round := range played {
		for _, r := range round.pending {
			if _, known := bounds[r.slot.ID]; !known {
				own := ofModality(round.pending, r.slot.Modality)
				p, q := placeOf(own, r.slot.ID)+1, len(round.pending)-len(own)
				bounds[r.slot.ID] = i - 1 + c.MaxWaitRounds + batchesOf(p, c) + batchesOf(q, c)
			}
		}
		for _, slot := range round.batch {
			t.holds(i <= bounds[slot.ID], "%+v left %d batches late", slot, i-bounds[slot.ID])
		}
	}
}

// batchesOf is the number of batches that n requests fill.
func batchesOf(n int, c spec.MultiModalBatchConfig) int {
	return (n + c.MaxBatchSize - 1) / c.MaxBatchSize
}

func batchStats(t *trial) {
	var want spec.MultiModalBatchStats
	played, _ := playAnyBatches(t, drawBatchConfig(t))
	for _, round := range played {
		if len(round.batch) > 0 {
			want.Batches++
		}
		for _, slot := range round.batch {
			if slot.Modality == spec.Text {
				want.TextSlots++
			} else {
				want.VisionSlots++
			}
		}
		t.equal("stats", round.stats, want)
	}
}
