package fast

import (
	"fmt"
	"math/bits"

	"github.com/squishspec/squishspec/fast/internal/ring"
	"github.com/squishspec/squishspec/spec"
)

// NewMultiModalBatch returns an optimised spec.MultiModalBatch, or an error of
// kind spec.Invalid for a config out of range.
//
// A queue is one ring a priority and a mask of those in use: a request is added
// and handed out in constant time, however many are pending. The rings keep the
// memory of their longest queue.
func NewMultiModalBatch(config spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &multiModalBatch{config: config}, nil
}

type multiModalBatch struct {
	config       spec.MultiModalBatchConfig
	text, vision batchQueue
	arrivals     uint64
	stats        spec.MultiModalBatchStats
}

// A batchQueue holds the pending requests of a modality.
type batchQueue struct {
	levels  [spec.PriorityLevels]ring.Ring[batchRequest]
	inUse   uint8 // bit p: levels[p] is not empty
	pending int
}

type batchRequest struct {
	id                    int64
	textLen, visionTokens int
	arrival               uint64 // among all requests
	before                int    // batches gone before it came
}

func (m *multiModalBatch) AddRequest(id int64, modality spec.Modality, textLen, visionTokens, priority int) error {
	if modality != spec.Text && modality != spec.Vision {
		return rejectRequest("modality", "text or vision", fmt.Sprintf("%q", string(modality)))
	}
	if textLen < 0 || textLen > m.config.MaxTextLen {
		return rejectRequest("text_len", fmt.Sprintf("0 to %d", m.config.MaxTextLen), textLen)
	}
	if visionTokens < 0 || visionTokens > m.config.MaxVisionTokens {
		return rejectRequest("vision_tokens", fmt.Sprintf("0 to %d", m.config.MaxVisionTokens), visionTokens)
	}
	if priority < 0 || priority >= spec.PriorityLevels {
		return rejectRequest("priority", fmt.Sprintf("0 to %d", spec.PriorityLevels-1), priority)
	}
	queue := &m.text
	if modality == spec.Vision {
		queue = &m.vision
	}
	r := queue.levels[priority].Next()
	r.id, r.textLen, r.visionTokens = id, textLen, visionTokens
	r.arrival, r.before = m.arrivals, m.stats.Batches
	queue.inUse |= 1 << priority
	queue.pending++
	m.arrivals++
	return nil
}

func rejectRequest(name, want string, got any) error {
	return spec.Reject(spec.Invalid, "multimodal-batch", name, want, got)
}

func (m *multiModalBatch) NextBatch(dst *[]spec.BatchSlot) error {
	queue, modality, slots := &m.text, spec.Text, &m.stats.TextSlots
	if m.visionIsNext() {
		queue, modality, slots = &m.vision, spec.Vision, &m.stats.VisionSlots
	}
	batch := spec.Resize(*dst, min(queue.pending, m.config.MaxBatchSize))
	*dst = batch
	if len(batch) == 0 {
		return nil
	}
	for left := batch; len(left) > 0; {
		level, n := m.nextRun(queue, len(left))
		run := queue.levels[level].Fronts(n)
		for i := range run {
			// Field by field: the compiler makes a literal on the stack and copies
			// it in wider words than it was written in, for which the core waits.
			r, slot := &run[i], &left[i]
			slot.ID, slot.Modality = r.id, modality
			slot.TextLen, slot.VisionTokens = r.textLen, r.visionTokens
		}
		queue.drop(level, len(run))
		left = left[len(run):]
	}
	m.stats.Batches++
	*slots += len(batch)
	return nil
}

// visionIsNext says whose batch is next: the overdue modality's, of two the one
// whose oldest request has waited longer, and with none overdue the longer
// queue's. Vision wins a draw.
func (m *multiModalBatch) visionIsNext() bool {
	if m.config.MaxWaitRounds > 0 {
		text, vision := m.wait(&m.text), m.wait(&m.vision)
		if max(text, vision) >= m.config.MaxWaitRounds {
			return vision >= text
		}
	}
	return m.vision.pending >= m.text.pending
}

// wait returns how many batches the oldest request of a queue has seen go, 0 if
// there is none.
func (m *multiModalBatch) wait(queue *batchQueue) int {
	if queue.pending == 0 {
		return 0
	}
	return m.stats.Batches - queue.levels[queue.oldestLevel()].Front().before
}

// nextRun returns the level of the requests that leave a queue next, and how many
// of its oldest leave together, at most so many: the oldest request of all if it is
// overdue, else those of the highest priority. Once the oldest is not overdue, none
// is.
func (m *multiModalBatch) nextRun(queue *batchQueue, most int) (level, n int) {
	if m.config.MaxWaitRounds > 0 {
		level := queue.oldestLevel()
		if m.stats.Batches-queue.levels[level].Front().before >= m.config.MaxWaitRounds {
			return level, 1
		}
	}
	level = bits.Len8(queue.inUse) - 1
	return level, min(most, queue.levels[level].Len())
}

func (m *multiModalBatch) PendingText() int   { return m.text.pending }
func (m *multiModalBatch) PendingVision() int { return m.vision.pending }

func (m *multiModalBatch) Stats() spec.MultiModalBatchStats { return m.stats }

// oldestLevel returns the level of the oldest request: each level is in order of
// arrival, so it is one of the fronts.
func (q *batchQueue) oldestLevel() int {
	oldest, arrival := 0, ^uint64(0)
	for left := q.inUse; left != 0; left &= left - 1 {
		level := bits.TrailingZeros8(left)
		if a := q.levels[level].Front().arrival; a < arrival {
			oldest, arrival = level, a
		}
	}
	return oldest
}

func (q *batchQueue) drop(level, n int) {
	q.levels[level].Drop(n)
	if q.levels[level].Len() == 0 {
		q.inUse &^= 1 << level
	}
	q.pending -= n
}
