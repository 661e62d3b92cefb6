package conformance

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// TestModalityRouterUnderConcurrentUse runs what is called at once with all its
// tries, however few the environment asks for: it is what the race detector is for.
func TestModalityRouterUnderConcurrentUse(t *testing.T) {
	for _, impl := range []spec.Implementation{ref.Implementation(), fast.Implementation()} {
		report := Check(impl, Requirements("modality-router/concurrent", "modality-router/linearizable"), Checks(100))
		for _, r := range report.Results {
			if r.Status != Passed || r.Tries < 100 {
				t.Errorf("%s: %s %s after %d tries: %s", impl.Name, r.Requirement, r.Status, r.Tries, r.Message)
			}
		}
	}
}

var modalityRouterMutants = []mutant{
	{"modality-router/history", "forgets the completions when a policy is replaced", forgetsOnRegister, ""},
	{"modality-router/history", "counts a deferred request as accepted", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.ModalityRouterStats)
		s.Routes += s.Deferred
	}), ""},
	{"modality-router/limit", "lets one more in than the limit", onPolicies(func(p *spec.ModalityPolicy) { p.MaxConcurrent++ }), ""},
	{"modality-router/limit", "never lets more than two in", onPolicies(func(p *spec.ModalityPolicy) { p.MaxConcurrent = min(p.MaxConcurrent, 2) }), ""},
	{"modality-router/isolation", "defers text while a vision request is active", defersTextForVision, ""},
	{"modality-router/spare-completion", "lets a completion with none active buy room", spareBuysRoom, ""},
	{"modality-router/spare-completion", "does not count a completion with none active", dropsSpare, ""},
	{"modality-router/slo", "counts a completion at the target as late", beforeComplete(func(target, latency float64) float64 {
		if latency == target {
			return target * 2
		}
		return latency
	}), ""},
	{"modality-router/slo", "answers the share within the target", after("slo_violation_rate", func(c *proxy.Call) {
		*c.Dst.(*float64) = 1 - *c.Dst.(*float64)
	}), ""},
	{"modality-router/register", "keeps the old policy", ignoresRegister, ""},
	{"modality-router/register", "forgets what is active when a policy is replaced", forgetsOnRegister, ""},
	{"modality-router/concurrent", "loses a completion that comes while a request is routed", losesCompletions, ""},
	{"modality-router/concurrent", "lets a request in that it was still counting", acceptsUncounted, ""},
	{"modality-router/concurrent", "reports what is active and about to be routed", whileRouting(func(next proxy.Handler, c *proxy.Call, routing int64) error {
		err := next(c)
		if c.Op.Name == "active_counts" {
			for m := range *c.Dst.(*map[spec.Modality]int) {
				(*c.Dst.(*map[spec.Modality]int))[m] += int(4 * routing)
			}
		}
		return err
	}), ""},
	{"modality-router/linearizable", "reads completions some time before the rest of the stats", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name != "stats" {
				return next(c)
			}
			var before spec.ModalityRouterStats
			own := *c
			own.Dst = &before
			if err := next(&own); err != nil {
				return err
			}
			time.Sleep(100 * time.Microsecond)
			err := next(c)
			c.Dst.(*spec.ModalityRouterStats).Completions = before.Completions
			return err
		}
	}, ""},
	{"modality-router/linearizable", "completes a request some time after it says so", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name != "complete" {
				return next(c)
			}
			later := *c
			go func() {
				time.Sleep(50 * time.Microsecond)
				next(&later)
			}()
			return nil
		}
	}, ""},
	{"modality-router/nothing-aliased", "hands out its own map of active requests", func(next proxy.Handler) proxy.Handler {
		var own map[spec.Modality]int
		return func(c *proxy.Call) error {
			err := next(c)
			if err != nil || c.Op.Name != "active_counts" {
				return err
			}
			counts := c.Dst.(*map[spec.Modality]int)
			if own == nil {
				own = *counts
			}
			for m := range own {
				own[m] = (*counts)[m]
			}
			*counts = own
			return nil
		}
	}, spec.Aliased},
	{"modality-router/stats", "answers the share of deferred requests", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.ModalityRouterStats)
		s.AcceptanceRate = 1 - s.AcceptanceRate
	}), ""},
}

// onPolicies changes the policies of a config.
func onPolicies(change func(*spec.ModalityPolicy)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		for i := range c.Args[0].(spec.ModalityRouterConfig).Policies {
			change(&c.Args[0].(spec.ModalityRouterConfig).Policies[i])
		}
	})
}

// forgetsOnRegister replaces all there is of a router by a new one.
func forgetsOnRegister(next proxy.Handler) proxy.Handler {
	var config spec.ModalityRouterConfig
	return func(c *proxy.Call) error {
		switch c.Op.Name {
		case "new":
			config = cloneAs(c.Args[0].(spec.ModalityRouterConfig))
		case "register":
			if err := next(c); err != nil {
				return err
			}
			p, known := c.Args[0].(spec.ModalityPolicy), false
			for i := range config.Policies {
				if config.Policies[i].Modality == p.Modality {
					config.Policies[i], known = p, true
				}
			}
			if !known {
				config.Policies = append(config.Policies, p)
			}
			return next(&proxy.Call{Module: c.Module, Op: proxy.New, Args: []any{config}})
		}
		return next(c)
	}
}

func defersTextForVision(next proxy.Handler) proxy.Handler {
	vision := 0
	return func(c *proxy.Call) error {
		if c.Op.Name == "route" && c.Args[1] == spec.Text && vision > 0 {
			*c.Dst.(*bool) = false
			return nil
		}
		err := next(c)
		if err == nil && c.Op.Name == "route" && c.Args[1] == spec.Vision {
			vision++
		}
		return err
	}
}

// completesSpare tells a completion with none active from others.
func completesSpare(next proxy.Handler, c *proxy.Call) bool {
	if c.Op.Name != "complete" {
		return false
	}
	var active map[spec.Modality]int
	next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("active_counts"), Dst: &active})
	return active[c.Args[1].(spec.Modality)] == 0
}

func spareBuysRoom(next proxy.Handler) proxy.Handler {
	room := 0
	return func(c *proxy.Call) error {
		if completesSpare(next, c) {
			room++
		}
		err := next(c)
		if err == nil && c.Op.Name == "route" && !*c.Dst.(*bool) && room > 0 {
			room--
			*c.Dst.(*bool) = true
		}
		return err
	}
}

func dropsSpare(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if completesSpare(next, c) {
			return nil
		}
		return next(c)
	}
}

// beforeComplete changes latencies, given the target of the first policy.
func beforeComplete(change func(target, latency float64) float64) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		target := 0.0
		return func(c *proxy.Call) error {
			own := *c
			switch c.Op.Name {
			case "new":
				if config := c.Args[0].(spec.ModalityRouterConfig); config.Validate() == nil {
					target = config.Policies[0].TargetLatencyMS
				}
			case "complete":
				own.Args = []any{c.Args[0], c.Args[1], change(target, c.Args[2].(float64))}
			}
			return next(&own)
		}
	}
}

func ignoresRegister(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if c.Op.Name == "register" {
			return nil
		}
		return next(c)
	}
}

// whileRouting lets a route take a while, and hands every call on with the number of
// routes under way.
func whileRouting(with func(next proxy.Handler, c *proxy.Call, routing int64) error) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var routing atomic.Int64
		return func(c *proxy.Call) error {
			if c.Op.Name == "route" {
				routing.Add(1)
				defer routing.Add(-1)
				time.Sleep(20 * time.Microsecond)
			}
			return with(next, c, routing.Load())
		}
	}
}

var losesCompletions = whileRouting(func(next proxy.Handler, c *proxy.Call, routing int64) error {
	if c.Op.Name == "complete" && routing > 0 {
		return nil
	}
	return next(c)
})

func acceptsUncounted(next proxy.Handler) proxy.Handler {
	var routing atomic.Int64
	return func(c *proxy.Call) error {
		if c.Op.Name != "route" {
			return next(c)
		}
		alone := routing.Add(1) == 1
		defer routing.Add(-1)
		time.Sleep(20 * time.Microsecond)
		err := next(c)
		if err == nil && !alone {
			*c.Dst.(*bool) = true
		}
		return err
	}
}
