package ref

import (
	"fmt"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewMultiModalBatch returns the reference of spec.MultiModalBatch, or an error of
// kind spec.Invalid for a config out of range.
func NewMultiModalBatch(config spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &multiModalBatch{config: config}, nil
}

type multiModalBatch struct {
	config       spec.MultiModalBatchConfig
	text, vision []batchRequest // pending, in order of arrival
	stats        spec.MultiModalBatchStats
}

type batchRequest struct {
	slot     spec.BatchSlot
	priority int
	seen     int // batches gone since it came
}

func (m *multiModalBatch) AddRequest(id int64, modality spec.Modality, textLen, visionTokens, priority int) error {
	invalid := func(name, want string, got any) error {
		return spec.Reject(spec.Invalid, "multimodal-batch", name, want, got)
	}
	if modality != spec.Text && modality != spec.Vision {
		return invalid("modality", "text or vision", fmt.Sprintf("%q", string(modality)))
	}
	if textLen < 0 || textLen > m.config.MaxTextLen {
		return invalid("text_len", fmt.Sprintf("0 to %d", m.config.MaxTextLen), textLen)
	}
	if visionTokens < 0 || visionTokens > m.config.MaxVisionTokens {
		return invalid("vision_tokens", fmt.Sprintf("0 to %d", m.config.MaxVisionTokens), visionTokens)
	}
	if priority < 0 || priority >= spec.PriorityLevels {
		return invalid("priority", fmt.Sprintf("0 to %d", spec.PriorityLevels-1), priority)
	}
	queue := &m.text
	if modality == spec.Vision {
		queue = &m.vision
	}
	*queue = append(*queue, batchRequest{
		slot:     spec.BatchSlot{ID: id, Modality: modality, TextLen: textLen, VisionTokens: visionTokens},
		priority: priority,
	})
	return nil
}

func (m *multiModalBatch) NextBatch(dst *[]spec.BatchSlot) error {
	*dst = (*dst)[:0]
	queue, slots := &m.text, &m.stats.TextSlots
	if m.visionIsNext() {
		queue, slots = &m.vision, &m.stats.VisionSlots
	}
	if len(*queue) == 0 {
		return nil
	}
	for len(*queue) > 0 && len(*dst) < m.config.MaxBatchSize {
		i := m.next(*queue)
		*dst = append(*dst, (*queue)[i].slot)
		*queue = slices.Delete(*queue, i, i+1)
	}
	for _, pending := range [][]batchRequest{m.text, m.vision} {
		for i := range pending {
			pending[i].seen++
		}
	}
	m.stats.Batches++
	*slots += len(*dst)
	return nil
}

// visionIsNext says whose batch is next: the overdue modality's, of two the one
// whose oldest request has waited longer, and with none overdue the longer
// queue's. Vision wins a draw.
func (m *multiModalBatch) visionIsNext() bool {
	visionOverdue, textOverdue := m.overdue(m.vision), m.overdue(m.text)
	switch {
	case visionOverdue && textOverdue:
		return m.vision[0].seen >= m.text[0].seen
	case visionOverdue || textOverdue:
		return visionOverdue
	}
	return len(m.vision) >= len(m.text)
}

// overdue reports whether the oldest request of a queue has waited too long. A
// queue is in order of arrival, so where its first is not overdue none is.
func (m *multiModalBatch) overdue(queue []batchRequest) bool {
	return m.config.MaxWaitRounds > 0 && len(queue) > 0 && queue[0].seen >= m.config.MaxWaitRounds
}

// next returns the index of the request that leaves a queue next: the oldest if
// it is overdue, else the oldest of the highest priority.
func (m *multiModalBatch) next(queue []batchRequest) int {
	if m.overdue(queue) {
		return 0
	}
	best := 0
	for i := range queue {
		if queue[i].priority > queue[best].priority {
			best = i
		}
	}
	return best
}

func (m *multiModalBatch) PendingText() int   { return len(m.text) }
func (m *multiModalBatch) PendingVision() int { return len(m.vision) }

func (m *multiModalBatch) Stats() spec.MultiModalBatchStats { return m.stats }
