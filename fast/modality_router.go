package fast

import (
	"sync"

	"github.com/squishspec/squishspec/spec"
)

// NewModalityRouter returns the optimised spec.ModalityRouter, or an error of kind
// spec.Invalid for a config out of range.
//
// One short lock, without defer, is the instant at which a call takes effect.
// Totals are kept beside the lanes' counts, so that Stats adds nothing up.
func NewModalityRouter(c spec.ModalityRouterConfig) (spec.ModalityRouter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &modalityRouter{lanes: make(map[spec.Modality]*routerLane, len(c.Policies))}
	for _, p := range c.Policies {
		r.lanes[p.Modality] = newRouterLane(p)
	}
	return r, nil
}

type modalityRouter struct {
	mu    sync.Mutex
	lanes map[spec.Modality]*routerLane
	stats spec.ModalityRouterStats
}

// A routerLane is what is known of a modality.
type routerLane struct {
	limit, active   int
	target          float64
	completed, late int
}

func newRouterLane(p spec.ModalityPolicy) *routerLane {
	return &routerLane{limit: p.MaxConcurrent, target: p.TargetLatencyMS}
}

func (r *modalityRouter) Route(dst *bool, _ int64, modality spec.Modality) error {
	r.mu.Lock()
	l := r.lanes[modality]
	if l == nil {
		r.mu.Unlock()
		return spec.ModalityRouterConfig{}.UnknownModality(modality)
	}
	accepted := l.active < l.limit
	if accepted {
		l.active++
		r.stats.Routes++
	} else {
		r.stats.Deferred++
	}
	r.mu.Unlock()
	*dst = accepted
	return nil
}

func (r *modalityRouter) Complete(_ int64, modality spec.Modality, latencyMS float64) error {
	if err := (spec.ModalityRouterConfig{}).CheckLatency(latencyMS); err != nil {
		return err
	}
	r.mu.Lock()
	l := r.lanes[modality]
	if l == nil {
		r.mu.Unlock()
		return spec.ModalityRouterConfig{}.UnknownModality(modality)
	}
	if l.active > 0 {
		l.active--
	}
	l.completed++
	if latencyMS > l.target {
		l.late++
	}
	r.stats.Completions++
	r.mu.Unlock()
	return nil
}

func (r *modalityRouter) SloViolationRate(dst *float64, modality spec.Modality) error {
	r.mu.Lock()
	l := r.lanes[modality]
	if l == nil {
		r.mu.Unlock()
		return spec.ModalityRouterConfig{}.UnknownModality(modality)
	}
	completed, late := l.completed, l.late
	r.mu.Unlock()
	*dst = 0
	if completed > 0 {
		*dst = float64(late) / float64(completed)
	}
	return nil
}

func (r *modalityRouter) ActiveCounts() map[spec.Modality]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[spec.Modality]int, len(r.lanes))
	for m, l := range r.lanes {
		counts[m] = l.active
	}
	return counts
}

func (r *modalityRouter) Register(p spec.ModalityPolicy) error {
	if err := p.Validate(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lanes[p.Modality]; l != nil {
		l.limit, l.target = p.MaxConcurrent, p.TargetLatencyMS
	} else {
		r.lanes[p.Modality] = newRouterLane(p)
	}
	return nil
}

func (r *modalityRouter) Stats() spec.ModalityRouterStats {
	r.mu.Lock()
	s := r.stats
	r.mu.Unlock()
	if routes := s.Routes + s.Deferred; routes > 0 {
		s.AcceptanceRate = float64(s.Routes) / float64(routes)
	}
	return s
}
