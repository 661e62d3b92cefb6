package conformance

import (
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var multiModalBatchMutants = []mutant{
	{"multimodal-batch/queues", "serves text where vision waits as long, or has as long a queue", swapModalities, ""},
	{"multimodal-batch/queues", "finds requests overdue a batch late", batching(func(c *spec.MultiModalBatchConfig) {
		if c.MaxWaitRounds > 0 {
			c.MaxWaitRounds++
		}
	}), ""},
	{"multimodal-batch/queues", "takes a request of an id that came before for the same one", dropRepeated, ""},
	{"multimodal-batch/conservation", "loses the last request of a batch of several", onBatch(func(batch []spec.BatchSlot) []spec.BatchSlot {
		return batch[:max(min(len(batch), 1), len(batch)-1)]
	}), ""},
	{"multimodal-batch/conservation", "hands out text requests without their vision tokens", onBatch(func(batch []spec.BatchSlot) []spec.BatchSlot {
		for i := range batch {
			if batch[i].Modality == spec.Text {
				batch[i].VisionTokens = 0
			}
		}
		return batch
	}), ""},
	{"multimodal-batch/homogeneous", "tops a short batch up from the other queue", topUp, ""},
	{"multimodal-batch/homogeneous", "takes one more than max_batch_size", batching(func(c *spec.MultiModalBatchConfig) { c.MaxBatchSize++ }), ""},
	{"multimodal-batch/homogeneous", "takes at most 2", batching(func(c *spec.MultiModalBatchConfig) { c.MaxBatchSize = min(c.MaxBatchSize, 2) }), ""},
	{"multimodal-batch/longest-first", "serves text where the queues are equally long", swapModalities, ""},
	{"multimodal-batch/longest-first", "counts an empty batch", countEmpty, ""},
	{"multimodal-batch/longest-first", "always has the waiting rule", batching(func(c *spec.MultiModalBatchConfig) { c.MaxWaitRounds = 1 }), ""},
	{"multimodal-batch/fifo", "hands a batch out back to front", onBatch(func(batch []spec.BatchSlot) []spec.BatchSlot {
		slices.Reverse(batch)
		return batch
	}), ""},
	{"multimodal-batch/priority", "knows no priorities", prioritised(func(int) int { return 0 }), ""},
	{"multimodal-batch/priority", "takes 0 for the highest", prioritised(func(p int) int { return spec.PriorityLevels - 1 - p }), ""},
	{"multimodal-batch/interleaving", "takes the priority of a request from the one before", priorityOfLast, ""},
	{"multimodal-batch/bounded-wait", "ignores the waiting rule", batching(func(c *spec.MultiModalBatchConfig) { c.MaxWaitRounds = 0 }), ""},
	{"multimodal-batch/bounded-wait", "serves the overdue modality, but by priority", byPriorityOnly, ""},
	{"multimodal-batch/bounded-wait", "finds requests overdue a batch late", batching(func(c *spec.MultiModalBatchConfig) {
		if c.MaxWaitRounds > 0 {
			c.MaxWaitRounds++
		}
	}), ""},
	{"multimodal-batch/stats", "counts an empty batch", countEmpty, ""},
	{"multimodal-batch/stats", "counts vision slots as text", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.MultiModalBatchStats)
		s.TextSlots, s.VisionSlots = s.TextSlots+s.VisionSlots, 0
	}), ""},
	{"multimodal-batch/errors-change-nothing", "queues a request before it looks at its priority", queueFirst, spec.ChangedState},
}

// batching changes a config that was accepted.
func batching(change func(*spec.MultiModalBatchConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.MultiModalBatchConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

// onBatch changes what was handed out.
func onBatch(spoil func([]spec.BatchSlot) []spec.BatchSlot) proxy.Layer {
	return after("next_batch", func(c *proxy.Call) {
		batch := c.Dst.(*[]spec.BatchSlot)
		*batch = spoil(*batch)
	})
}

// prioritised changes the priority of a request that is accepted without it.
func prioritised(change func(priority int) int) proxy.Layer {
	return before("add_request", func(c *proxy.Call) {
		if p := c.Args[4].(int); p >= 0 && p < spec.PriorityLevels {
			c.Args[4] = change(p)
		}
	})
}

// swapModalities calls text vision and vision text, inside.
func swapModalities(next proxy.Handler) proxy.Handler {
	other := map[spec.Modality]spec.Modality{spec.Text: spec.Vision, spec.Vision: spec.Text}
	swapped := before("add_request", func(c *proxy.Call) {
		if m, known := other[c.Args[1].(spec.Modality)]; known {
			c.Args[1] = m
		}
	})(onBatch(func(batch []spec.BatchSlot) []spec.BatchSlot {
		for i := range batch {
			batch[i].Modality = other[batch[i].Modality]
		}
		return batch
	})(after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.MultiModalBatchStats)
		s.TextSlots, s.VisionSlots = s.VisionSlots, s.TextSlots
	})(next)))
	return func(c *proxy.Call) error {
		own := *c
		switch c.Op.Name {
		case "pending_text":
			own.Op = multiModalBatch.Operation("pending_vision")
		case "pending_vision":
			own.Op = multiModalBatch.Operation("pending_text")
		}
		return swapped(&own)
	}
}

func dropRepeated(next proxy.Handler) proxy.Handler {
	came := map[int64]bool{}
	return func(c *proxy.Call) error {
		if c.Op.Name == "add_request" {
			id := c.Args[0].(int64)
			if came[id] {
				return nil
			}
			came[id] = true
		}
		return next(c)
	}
}

func topUp(next proxy.Handler) proxy.Handler {
	size := 0
	return func(c *proxy.Call) error {
		err := next(c)
		switch c.Op.Name {
		case "new":
			size = c.Args[0].(spec.MultiModalBatchConfig).MaxBatchSize
		case "next_batch":
			batch := c.Dst.(*[]spec.BatchSlot)
			if n := len(*batch); n > 0 && n < size {
				more := do(next, c.Module, call(multiModalBatch, "next_batch")).dst.(*[]spec.BatchSlot)
				*batch = append(*batch, (*more)[:min(len(*more), size-n)]...)
			}
		}
		return err
	}
}

func countEmpty(next proxy.Handler) proxy.Handler {
	empty := 0
	return func(c *proxy.Call) error {
		err := next(c)
		switch c.Op.Name {
		case "next_batch":
			if len(*c.Dst.(*[]spec.BatchSlot)) == 0 {
				empty++
			}
		case "stats":
			c.Dst.(*spec.MultiModalBatchStats).Batches += empty
		}
		return err
	}
}

func priorityOfLast(next proxy.Handler) proxy.Handler {
	last := 0
	return prioritised(func(p int) int {
		before := last
		last = p
		return before
	})(next)
}

// byPriorityOnly has the right modality in every batch, and the wrong requests.
func byPriorityOnly(next proxy.Handler) proxy.Handler {
	var pending []request
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil {
			return err
		}
		switch c.Op.Name {
		case "add_request":
			slot := spec.BatchSlot{ID: c.Args[0].(int64), Modality: c.Args[1].(spec.Modality), TextLen: c.Args[2].(int), VisionTokens: c.Args[3].(int)}
			pending = append(pending, request{slot, c.Args[4].(int)})
		case "next_batch":
			for i, slot := range *c.Dst.(*[]spec.BatchSlot) {
				best := -1
				for j, r := range pending {
					if r.slot.Modality == slot.Modality && (best < 0 || r.priority > pending[best].priority) {
						best = j
					}
				}
				(*c.Dst.(*[]spec.BatchSlot))[i] = pending[best].slot
				pending = slices.Delete(pending, best, best+1)
			}
		}
		return nil
	}
}

func queueFirst(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil && c.Op.Name == "add_request" {
			again := *c
			again.Args = append(slices.Clone(c.Args[:4]), 0)
			next(&again)
		}
		return err
	}
}
