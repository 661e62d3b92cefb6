package spec

import (
	"reflect"
	"slices"
)

// MultiModalBatch queues text and vision requests and hands them out in batches
// of one modality.
//
// Page rows: multimodal-batch/add-request, multimodal-batch/next-batch.
type MultiModalBatch interface {
	// AddRequest enqueues a request. An unknown modality, a length that is negative
	// or over its limit (both lengths, whatever the modality) and a priority
	// outside 0…7 are Invalid. An id may come twice.
	AddRequest(id int64, modality Modality, textLen, visionTokens, priority int) error
	// NextBatch dequeues up to MaxBatchSize requests of one modality: vision where
	// its queue is at least as long as text's, else text. Within a modality higher
	// priority goes first, then first come, first served. With both queues empty
	// the batch is empty and not counted.
	//
	// With MaxWaitRounds w > 0 a request is overdue once it has seen w batches go.
	// A modality whose oldest request is overdue is served before the rule above
	// is asked: with both overdue the one whose oldest request has seen more
	// batches, with equal waits vision. Overdue requests lead their batch, oldest
	// first; the others follow by priority.
	NextBatch(dst *[]BatchSlot) error
	PendingText() int
	PendingVision() int
	Stats() MultiModalBatchStats
}

// A Modality is a kind of request.
type Modality string

const (
	Text   Modality = "text"
	Vision Modality = "vision"
)

// PriorityLevels is the number of priorities: 0…7, higher first.
const PriorityLevels = 8

// A BatchSlot is a request in a batch.
type BatchSlot struct {
	ID           int64    `wire:"req_id"`
	Modality     Modality `wire:"modality"`
	TextLen      int      `wire:"text_len"`
	VisionTokens int      `wire:"vision_tokens"`
}

// MultiModalBatchConfig configures MultiModalBatch. All but MaxWaitRounds are ≥ 1.
type MultiModalBatchConfig struct {
	MaxBatchSize    int `wire:"max_batch_size"`    // default 8
	MaxTextLen      int `wire:"max_text_len"`      // in tokens, default 2048
	MaxVisionTokens int `wire:"max_vision_tokens"` // default 256
	// MaxWaitRounds is the number of batches after which a request is overdue; 0,
	// the default, turns the rule off.
	MaxWaitRounds int `wire:"max_wait_rounds"`
}

// DefaultMultiModalBatchConfig returns the defaults.
func DefaultMultiModalBatchConfig() MultiModalBatchConfig {
	return MultiModalBatchConfig{MaxBatchSize: 8, MaxTextLen: 2048, MaxVisionTokens: 256}
}

// Validate returns an Invalid error that names the field out of range.
func (c MultiModalBatchConfig) Validate() error {
	const m = "multimodal-batch"
	return firstError(
		atLeast(m, "max_batch_size", c.MaxBatchSize, 1),
		atLeast(m, "max_text_len", c.MaxTextLen, 1),
		atLeast(m, "max_vision_tokens", c.MaxVisionTokens, 1),
		atLeast(m, "max_wait_rounds", c.MaxWaitRounds, 0),
	)
}

// MultiModalBatchStats count what was handed out.
type MultiModalBatchStats struct {
	Batches     int `wire:"total_batches"`
	TextSlots   int `wire:"total_text_slots"`
	VisionSlots int `wire:"total_vision_slots"`
}

var multiModalBatch = &Module{
	Name: "multimodal-batch", Wave: 23,
	Summary:   "text and vision requests in batches of one modality",
	Interface: reflect.TypeFor[MultiModalBatch](),
	Config:    DefaultMultiModalBatchConfig(),
	Defaults: defaults(func(MultiModalBatchConfig) MultiModalBatchConfig {
		return DefaultMultiModalBatchConfig()
	}),
	Operations: []Operation{
		op[MultiModalBatch]("add_request", Param{}, named("req_id"), named("modality"), named("text_len"),
			named("vision_tokens"), Param{Name: "priority", Optional: true}),
		op[MultiModalBatch]("next_batch", named("batch")),
		op[MultiModalBatch]("pending_text", named("pending_text")),
		op[MultiModalBatch]("pending_vision", named("pending_vision")),
		op[MultiModalBatch]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "multimodal-batch/queues", Level: Must, Kind: Model,
		Text:      "Batches, pending counts and stats are those of two plain lists, searched anew for every slot.",
		Tolerance: exact, Why: exactWhy, Second: "a model of one list a modality",
		Source: "the recording, with priorities and the waiting rule",
	}, {
		ID: "multimodal-batch/conservation", Level: Must, Kind: Law,
		Text:      "Every accepted request is handed out once and unchanged: accepted = handed out + pending, modality by modality.",
		Tolerance: exact, Why: exactWhy, Source: "a queue neither loses nor invents",
	}, {
		ID: "multimodal-batch/homogeneous", Level: Must, Kind: Law,
		Text:      "A batch is of one modality, at most max_batch_size long, and shorter only where it empties its queue.",
		Tolerance: exact, Why: exactWhy, Source: "the queue is work-conserving",
	}, {
		ID: "multimodal-batch/longest-first", Level: Must, Kind: Law,
		Text:      "Without the waiting rule the longer queue is served, vision where they are equally long, and an empty batch comes from empty queues only and is not counted.",
		Tolerance: exact, Why: exactWhy, Source: "the recording",
	}, {
		ID: "multimodal-batch/fifo", Level: Must, Kind: Law,
		Text:      "Requests of one modality and one priority leave in the order in which they came.",
		Tolerance: exact, Why: exactWhy, Source: "first in, first out within a level",
	}, {
		ID: "multimodal-batch/priority", Level: Must, Kind: Law,
		Text:      "Without the waiting rule a request leaves no later than one of its modality and a lower priority that was pending with it.",
		Tolerance: exact, Why: exactWhy, Source: "page row multimodal-batch/add-request: priority queue",
	}, {
		ID: "multimodal-batch/interleaving", Level: Must, Kind: Law,
		Text:      "How text and vision requests interleave between two batches does not matter.",
		Tolerance: exact, Why: exactWhy, Source: "the queues are separate",
	}, {
		ID: "multimodal-batch/bounded-wait", Level: Must, Kind: Law,
		Text:      "With max_wait_rounds w and batches of b, a request leaves at the latest in batch w + ⌈p/b⌉ + ⌈q/b⌉ after it came, its own counted: p the requests of its modality pending when it came, itself included, q those of the other modality pending when the next batch goes.",
		Tolerance: exact, Why: exactWhy, Source: "once it is overdue, every batch serves requests that came before the first batch that it saw, oldest first",
	}, {
		ID: "multimodal-batch/stats", Level: Must, Kind: Law,
		Text:      "Stats count the batches that were not empty and the slots of each modality handed out.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, slices.DeleteFunc(
		common("multimodal-batch", nil, exact, exactWhy, "the list model of multimodal-batch/queues"),
		// Its operations take numbers and names: there is no input to write to.
		func(r Requirement) bool { return r.ID == "multimodal-batch/inputs-unmodified" },
	)...),
}
