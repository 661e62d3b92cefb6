package ref

import (
	"sync"

	"github.com/squishspec/squishspec/spec"
)

// NewModalityRouter returns the reference of spec.ModalityRouter, or an error of
// kind spec.Invalid for a config out of range. One lock is held throughout every
// call, which is the instant that linearizability asks for.
func NewModalityRouter(c spec.ModalityRouterConfig) (spec.ModalityRouter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &modalityRouter{lanes: map[spec.Modality]*routerLane{}}
	for _, p := range c.Policies {
		r.lanes[p.Modality] = &routerLane{policy: p}
	}
	return r, nil
}

type modalityRouter struct {
	mu    sync.Mutex
	lanes map[spec.Modality]*routerLane
}

// A routerLane is what is known of a modality.
type routerLane struct {
	policy                        spec.ModalityPolicy
	active                        int
	accepted, deferred, completed int
	late                          int // completions above the target
}

// lane returns the lane of a modality. The lock is held.
func (r *modalityRouter) lane(m spec.Modality) (*routerLane, error) {
	if l := r.lanes[m]; l != nil {
		return l, nil
	}
	return nil, spec.ModalityRouterConfig{}.UnknownModality(m)
}

func (r *modalityRouter) Route(dst *bool, _ int64, modality spec.Modality) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.lane(modality)
	if err != nil {
		return err
	}
	*dst = l.active < l.policy.MaxConcurrent
	if *dst {
		l.active++
		l.accepted++
	} else {
		l.deferred++
	}
	return nil
}

func (r *modalityRouter) Complete(_ int64, modality spec.Modality, latencyMS float64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.lane(modality)
	if err != nil {
		return err
	}
	if err := (spec.ModalityRouterConfig{}).CheckLatency(latencyMS); err != nil {
		return err
	}
	l.active = max(0, l.active-1)
	l.completed++
	if latencyMS > l.policy.TargetLatencyMS {
		l.late++
	}
	return nil
}

func (r *modalityRouter) SloViolationRate(dst *float64, modality spec.Modality) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.lane(modality)
	if err != nil {
		return err
	}
	*dst = 0
	if l.completed > 0 {
		*dst = float64(l.late) / float64(l.completed)
	}
	return nil
}

func (r *modalityRouter) ActiveCounts() map[spec.Modality]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[spec.Modality]int{}
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
		l.policy = p
	} else {
		r.lanes[p.Modality] = &routerLane{policy: p}
	}
	return nil
}

func (r *modalityRouter) Stats() (s spec.ModalityRouterStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		s.Routes += l.accepted
		s.Deferred += l.deferred
		s.Completions += l.completed
	}
	if routes := s.Routes + s.Deferred; routes > 0 {
		s.AcceptanceRate = float64(s.Routes) / float64(routes)
	}
	return s
}
