package conformance

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var modalityRouter = spec.ModuleByName("modality-router")

var modalityRouterModule = &module{
	spec: modalityRouter,
	laws: map[string]func(*trial){
		"history":          routerHistory,
		"limit":            routerLimit,
		"isolation":        routerIsolation,
		"spare-completion": routerSpareCompletion,
		"slo":              routerSLO,
		"register":         routerRegister,
		"concurrent":       routerConcurrent,
		"linearizable":     routerLinearizable,
		"stats":            routerStats,
	},
	program: routerProgram,
	badConfigs: map[string]any{
		"no policies":                 spec.ModalityRouterConfig{Policies: []spec.ModalityPolicy{}},
		"a policy without a modality": routerConfig(spec.DefaultModalityPolicy("")),
		"a modality twice":            routerConfig(policy("text", 100, 4), policy("vision", 100, 4), policy("text", 50, 2)),
		"target_latency_ms 0":         routerConfig(policy("text", 0, 4)),
		"target_latency_ms −1":        routerConfig(policy("text", -1, 4)),
		"target_latency_ms NaN":       routerConfig(policy("text", math.NaN(), 4)),
		"target_latency_ms +Inf":      routerConfig(policy("text", math.Inf(1), 4)),
		"max_concurrent 0":            routerConfig(policy("text", 100, 0)),
		"max_concurrent −1":           routerConfig(policy("vision", 100, 4), policy("text", 100, -1)),
	},
	badSteps: routerBadSteps,
	rows: []row{
		{"modality-router/route-complete", routerRow(true), routerSameResult},
		{"modality-router/route-best", routerRow(false), routerSameResult},
	},
}

func routerConfig(policies ...spec.ModalityPolicy) spec.ModalityRouterConfig {
	return spec.ModalityRouterConfig{Policies: policies}
}

func policy(m spec.Modality, target float64, limit int) spec.ModalityPolicy {
	return spec.ModalityPolicy{Modality: m, TargetLatencyMS: target, MaxConcurrent: limit, Priority: 1}
}

var (
	modalities = []spec.Modality{"text", "vision", "audio", "depth"}
	latencies  = []float64{0, 49.5, 50, 100, math.Nextafter(100, 200), 250, 1e300, math.Inf(1)}
)

func drawPolicy(t *trial, m spec.Modality) spec.ModalityPolicy {
	p := policy(m, rapid.SampledFrom([]float64{100, 50, 250, 0x1p-1074, math.MaxFloat64}).Draw(t.T, "target_latency_ms"), size(t, 1, 3, "max_concurrent"))
	p.Priority = rapid.SampledFrom([]int{1, 0, -3, math.MaxInt}).Draw(t.T, "priority")
	return p
}

func drawRouterConfig(t *trial) (c spec.ModalityRouterConfig) {
	for i := range size(t, 1, 3, "policies") {
		c.Policies = append(c.Policies, drawPolicy(t, modalities[i]))
	}
	return c
}

func drawLatency(t *trial) float64 { return rapid.SampledFrom(latencies).Draw(t.T, "latency_ms") }

func routerProgram(t *trial, _ spec.Variant) program {
	c := drawRouterConfig(t)
	p := program{config: c}
	known := len(c.Policies)
	for id := range int64(size(t, 1, 24, "calls")) {
		m := modalities[rapid.IntRange(0, known-1).Draw(t.T, "modality")]
		switch rapid.IntRange(0, 6).Draw(t.T, "call") {
		case 0, 1, 2:
			p.steps = append(p.steps, call(modalityRouter, "route", id, m))
		case 3, 4:
			p.steps = append(p.steps, call(modalityRouter, "complete", id, m, drawLatency(t)))
		case 5:
			p.steps = append(p.steps, call(modalityRouter, "slo_violation_rate", m))
		case 6:
			place := rapid.IntRange(0, min(known, len(modalities)-1)).Draw(t.T, "registered")
			known = max(known, place+1)
			p.steps = append(p.steps, call(modalityRouter, "register", drawPolicy(t, modalities[place])))
		}
	}
	return p
}

func routerBadSteps(t *trial, config any) (list []badStep) {
	known := config.(spec.ModalityRouterConfig).Policies[0].Modality
	for _, m := range []spec.Modality{"smell", "", "Text", "text "} {
		what := fmt.Sprintf("modality %q", string(m))
		list = append(list,
			badStep{what, call(modalityRouter, "route", int64(1), m), spec.Unknown},
			badStep{what, call(modalityRouter, "complete", int64(1), m, 1.0), spec.Unknown},
			badStep{what, call(modalityRouter, "slo_violation_rate", m), spec.Unknown})
	}
	for _, latency := range []float64{-1, -0x1p-1074, math.NaN(), math.Inf(-1)} {
		list = append(list, badStep{fmt.Sprintf("latency_ms %v", latency), call(modalityRouter, "complete", int64(1), known, latency), spec.Invalid})
	}
	for _, p := range []spec.ModalityPolicy{
		policy("", 100, 4), policy(known, 0, 4), policy(known, -1, 4), policy(known, math.NaN(), 4),
		policy(known, math.Inf(1), 4), policy(known, 100, 0), policy("smell", 100, -1),
	} {
		list = append(list, badStep{fmt.Sprintf("policy %+v", p), call(modalityRouter, "register", p), spec.Invalid})
	}
	return list
}

// A routerModel keeps what happened, and counts it anew for every answer.
type routerModel struct {
	policies map[spec.Modality]spec.ModalityPolicy
	events   []routerEvent
}

type routerEvent struct {
	modality            spec.Modality
	accepted, completed bool // neither for a deferred one
	late                bool
}

func newRouterModel(c spec.ModalityRouterConfig) *routerModel {
	m := &routerModel{policies: map[spec.Modality]spec.ModalityPolicy{}}
	for _, p := range c.Policies {
		m.policies[p.Modality] = p
	}
	return m
}

func (m *routerModel) active(modality spec.Modality) (n int) {
	for _, e := range m.events {
		switch {
		case e.modality != modality:
		case e.accepted:
			n++
		case e.completed && n > 0:
			n--
		}
	}
	return n
}

func (m *routerModel) activeCounts() map[spec.Modality]int {
	counts := map[spec.Modality]int{}
	for modality := range m.policies {
		counts[modality] = m.active(modality)
	}
	return counts
}

func (m *routerModel) rate(modality spec.Modality) float64 {
	late, completed := 0, 0
	for _, e := range m.events {
		if e.modality == modality && e.completed {
			completed++
			if e.late {
				late++
			}
		}
	}
	return share(late, completed)
}

func (m *routerModel) stats() (s spec.ModalityRouterStats) {
	for _, e := range m.events {
		switch {
		case e.accepted:
			s.Routes++
		case e.completed:
			s.Completions++
		default:
			s.Deferred++
		}
	}
	s.AcceptanceRate = share(s.Routes, s.Routes+s.Deferred)
	return s
}

// share is part/whole, 0 of nothing.
func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// route, complete and rate are a router's calls, which must be accepted.
func route(t *trial, r spec.ModalityRouter, m spec.Modality) (accepted bool) {
	t.Helper()
	t.must(r.Route(&accepted, 7, m))
	return accepted
}

func complete(t *trial, r spec.ModalityRouter, m spec.Modality, latency float64) {
	t.Helper()
	t.must(r.Complete(7, m, latency))
}

func rate(t *trial, r spec.ModalityRouter, m spec.Modality) (rate float64) {
	t.Helper()
	t.must(r.SloViolationRate(&rate, m))
	return rate
}

func (t *trial) sameRate(what string, got, want float64) {
	t.Helper()
	t.within(what, got, want, 0x1p-50*want)
}

func (t *trial) sameRouterStats(got, want spec.ModalityRouterStats) {
	t.Helper()
	t.sameRate("acceptance_rate", got.AcceptanceRate, want.AcceptanceRate)
	got.AcceptanceRate = want.AcceptanceRate
	t.equal("stats", got, want)
}

func routerHistory(t *trial) {
	c := drawRouterConfig(t)
	r, m := open(t, t.impl.ModalityRouter, c), newRouterModel(c)
	known := len(c.Policies)
	drawn := func() spec.Modality { return modalities[rapid.IntRange(0, known-1).Draw(t.T, "modality")] }
	t.Repeat(map[string]func(*rapid.T){
		"route": func(*rapid.T) {
			modality := drawn()
			want := m.active(modality) < m.policies[modality].MaxConcurrent
			t.equal("accepted", route(t, r, modality), want)
			m.events = append(m.events, routerEvent{modality: modality, accepted: want})
		},
		"complete": func(*rapid.T) {
			modality, latency := drawn(), drawLatency(t)
			complete(t, r, modality, latency)
			m.events = append(m.events, routerEvent{modality: modality, completed: true, late: latency > m.policies[modality].TargetLatencyMS})
		},
		"register": func(*rapid.T) {
			place := rapid.IntRange(0, min(known, len(modalities)-1)).Draw(t.T, "registered")
			known = max(known, place+1)
			p := drawPolicy(t, modalities[place])
			t.must(r.Register(p))
			m.policies[p.Modality] = p
		},
		"": func(*rapid.T) {
			t.equal("active", r.ActiveCounts(), m.activeCounts())
			for i := range known {
				t.sameRate("rate of "+string(modalities[i]), rate(t, r, modalities[i]), m.rate(modalities[i]))
			}
			t.sameRouterStats(r.Stats(), m.stats())
		},
	})
}

func routerLimit(t *trial) {
	p := drawPolicy(t, "text")
	r := open(t, t.impl.ModalityRouter, routerConfig(p, policy("vision", 100, 1)))
	for i := range p.MaxConcurrent + size(t, 1, 4, "too many") {
		if rapid.Bool().Draw(t.T, "others between") {
			route(t, r, "vision")
		}
		t.equal(fmt.Sprintf("accepted, number %d of %d", i, p.MaxConcurrent), route(t, r, "text"), i < p.MaxConcurrent)
	}
	for range size(t, 1, 4, "completions") {
		complete(t, r, "text", drawLatency(t))
		t.equal("accepted after a completion", route(t, r, "text"), true)
		t.equal("accepted after that", route(t, r, "text"), false)
	}
	t.equal("active", r.ActiveCounts()["text"], p.MaxConcurrent)
}

func routerIsolation(t *trial) {
	c := routerConfig(drawPolicy(t, "text"), drawPolicy(t, "vision"))
	among, alone := open(t, t.impl.ModalityRouter, c), open(t, t.impl.ModalityRouter, c)
	for range size(t, 1, 24, "calls") {
		latency := drawLatency(t)
		switch rapid.IntRange(0, 4).Draw(t.T, "call") {
		case 0:
			t.equal("accepted", route(t, among, "text"), route(t, alone, "text"))
		case 1:
			complete(t, among, "text", latency)
			complete(t, alone, "text", latency)
		case 2:
			t.equal("rate", rate(t, among, "text"), rate(t, alone, "text"))
		case 3:
			route(t, among, "vision")
		case 4:
			complete(t, among, "vision", latency)
		}
		t.equal("active", among.ActiveCounts()["text"], alone.ActiveCounts()["text"])
	}
}

func routerSpareCompletion(t *trial) {
	p := drawPolicy(t, "text")
	r := open(t, t.impl.ModalityRouter, routerConfig(p))
	spare := size(t, 1, 4, "spare completions")
	for range spare {
		complete(t, r, "text", drawLatency(t))
		t.equal("active", r.ActiveCounts(), map[spec.Modality]int{"text": 0})
	}
	for i := range p.MaxConcurrent + 1 {
		t.equal(fmt.Sprintf("accepted, number %d of %d", i, p.MaxConcurrent), route(t, r, "text"), i < p.MaxConcurrent)
	}
	t.equal("completions", r.Stats().Completions, spare)
}

func routerSLO(t *trial) {
	p := drawPolicy(t, "text")
	r := open(t, t.impl.ModalityRouter, routerConfig(p, drawPolicy(t, "vision")))
	t.equal("rate before any completion", rate(t, r, "text"), 0.0)
	late, n := 0, size(t, 1, 12, "completions")
	for range n {
		latency := rapid.SampledFrom([]float64{
			p.TargetLatencyMS, math.Nextafter(p.TargetLatencyMS, math.Inf(1)), math.Nextafter(p.TargetLatencyMS, 0), 0, math.Inf(1),
		}).Draw(t.T, "latency_ms")
		complete(t, r, "text", latency)
		if latency > p.TargetLatencyMS {
			late++
		}
		complete(t, r, "vision", drawLatency(t))
	}
	t.sameRate("rate", rate(t, r, "text"), float64(late)/float64(n))
}

func routerRegister(t *trial) {
	old, now := drawPolicy(t, "text"), drawPolicy(t, "text")
	r := open(t, t.impl.ModalityRouter, routerConfig(old))
	active := size(t, 0, old.MaxConcurrent, "active")
	for range active {
		route(t, r, "text")
	}
	late, n := 0, 0
	completeBoth := func(target float64) {
		for range size(t, 1, 3, "completions") {
			latency := drawLatency(t)
			complete(t, r, "text", latency)
			active = max(0, active-1)
			n++
			if latency > target {
				late++
			}
		}
	}
	completeBoth(old.TargetLatencyMS)
	for active < old.MaxConcurrent {
		route(t, r, "text")
		active++
	}
	t.must(r.Register(now))
	t.equal("active", r.ActiveCounts(), map[spec.Modality]int{"text": active})
	for range size(t, 1, 4, "requests") {
		want := active < now.MaxConcurrent
		t.equal("accepted", route(t, r, "text"), want)
		if want {
			active++
		}
	}
	completeBoth(now.TargetLatencyMS)
	t.sameRate("rate", rate(t, r, "text"), float64(late)/float64(n))
	t.equal("active", r.ActiveCounts(), map[spec.Modality]int{"text": active})
}

// routerConcurrent has workers route and complete at once, each completing what
// it was let in with, now and then keeping one for the next round. An observer
// looks on; between rounds the router is at rest.
func routerConcurrent(t *trial) {
	c := routerConfig(drawPolicy(t, "text"), drawPolicy(t, "vision"))
	r := open(t, t.impl.ModalityRouter, c)
	const workers = 4
	type tally struct {
		accepted, deferred, completed, late [2]int
		err                                 error
	}
	var tallies [workers]tally
	var held [workers][]int // lanes of the requests that a worker has not completed
	seeds := source(t, "workers")
	for range size(t, 1, 3, "rounds") {
		var running atomic.Int32
		running.Store(workers)
		var jobs []func()
		for w := range workers {
			plan := make([]int, 12)
			for i := range plan {
				plan[i] = seeds.IntN(8)
			}
			jobs = append(jobs, func() {
				defer running.Add(-1)
				own := &tallies[w]
				completeOne := func(lane int, late bool) {
					latency := 0.0
					if late {
						latency = math.Inf(1)
						own.late[lane]++
					}
					if err := r.Complete(int64(w), c.Policies[lane].Modality, latency); err != nil {
						own.err = err
					}
					own.completed[lane]++
				}
				for _, lane := range held[w] {
					completeOne(lane, false)
				}
				held[w] = nil
				for _, draw := range plan {
					lane := draw & 1
					var accepted bool
					if err := r.Route(&accepted, int64(w), c.Policies[lane].Modality); err != nil {
						own.err = err
					}
					if !accepted {
						own.deferred[lane]++
						runtime.Gosched()
						continue
					}
					own.accepted[lane]++
					if draw&6 == 6 {
						held[w] = append(held[w], lane)
					} else {
						completeOne(lane, draw&2 != 0)
					}
				}
			})
		}
		var seen []map[spec.Modality]int
		jobs = append(jobs, func() {
			for running.Load() > 0 && len(seen) < 200 {
				seen = append(seen, r.ActiveCounts())
				runtime.Gosched()
			}
		})
		t.concurrently(jobs...)

		for _, p := range c.Policies {
			for _, active := range seen {
				n, listed := active[p.Modality]
				t.holds(listed && n >= 0 && n <= p.MaxConcurrent, "%s: %d requests were active, want 0 … %d", p.Modality, n, p.MaxConcurrent)
			}
		}
		var sum tally
		for _, own := range tallies {
			t.must(own.err)
			for lane := range 2 {
				sum.accepted[lane] += own.accepted[lane]
				sum.deferred[lane] += own.deferred[lane]
				sum.completed[lane] += own.completed[lane]
				sum.late[lane] += own.late[lane]
			}
		}
		want := spec.ModalityRouterStats{
			Routes: sum.accepted[0] + sum.accepted[1], Deferred: sum.deferred[0] + sum.deferred[1], Completions: sum.completed[0] + sum.completed[1],
		}
		want.AcceptanceRate = share(want.Routes, want.Routes+want.Deferred)
		t.sameRouterStats(r.Stats(), want)
		for lane, p := range c.Policies {
			t.equal("active at rest", r.ActiveCounts()[p.Modality], sum.accepted[lane]-sum.completed[lane])
			t.sameRate("rate", rate(t, r, p.Modality), share(sum.late[lane], sum.completed[lane]))
		}
	}
}

// A routerCall is a call of a concurrent history, on one of two lanes.
type routerCall struct {
	op   int // route, complete, rate, active_counts, stats
	lane int
	late bool
}

// A routerAnswer is what it came to.
type routerAnswer struct {
	accepted bool
	rate     float64
	active   [2]int
	stats    spec.ModalityRouterStats
}

// A routerState is what a sequential router of two lanes knows.
type routerState struct {
	accepted, deferred   int
	active, done, missed [2]int
}

// answer makes a call.
func (s routerState) answer(c routerCall, limits [2]int) (routerState, routerAnswer) {
	var a routerAnswer
	switch c.op {
	case 0:
		if a.accepted = s.active[c.lane] < limits[c.lane]; a.accepted {
			s.active[c.lane]++
			s.accepted++
		} else {
			s.deferred++
		}
	case 1:
		s.active[c.lane] = max(0, s.active[c.lane]-1)
		s.done[c.lane]++
		if c.late {
			s.missed[c.lane]++
		}
	case 2:
		a.rate = share(s.missed[c.lane], s.done[c.lane])
	case 3:
		a.active = s.active
	case 4:
		a.stats = spec.ModalityRouterStats{Routes: s.accepted, Deferred: s.deferred, Completions: s.done[0] + s.done[1]}
	}
	return s, a
}

// agrees reports whether an answer is another, rates within 2⁻⁵⁰.
func (a routerAnswer) agrees(b routerAnswer) bool {
	near := math.Abs(a.rate-b.rate) <= 0x1p-50*b.rate
	a.rate = b.rate
	return near && a == b
}

func routerLinearizable(t *trial) {
	c := routerConfig(drawPolicy(t, "text"), drawPolicy(t, "vision"))
	r := open(t, t.impl.ModalityRouter, c)
	const clients, calls = 4, 4
	var clock atomic.Int64
	var histories [clients][]porcupine.Operation
	var failed [clients]error
	var jobs []func()
	for client := range clients {
		var plan []routerCall
		for range calls {
			plan = append(plan, routerCall{
				rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 3, 4}).Draw(t.T, "call"),
				rapid.IntRange(0, 1).Draw(t.T, "lane"), rapid.Bool().Draw(t.T, "late"),
			})
		}
		jobs = append(jobs, func() {
			for _, planned := range plan {
				called := clock.Add(1)
				answer, err := planned.on(r, c)
				if err != nil {
					failed[client] = err
				}
				histories[client] = append(histories[client], porcupine.Operation{
					ClientId: client, Input: planned, Call: called, Output: answer, Return: clock.Add(1),
				})
			}
		})
	}
	t.concurrently(jobs...)
	var history []porcupine.Operation
	for client := range clients {
		t.must(failed[client])
		history = append(history, histories[client]...)
	}
	limits := [2]int{c.Policies[0].MaxConcurrent, c.Policies[1].MaxConcurrent}
	t.holds(porcupine.CheckOperations(porcupine.Model{
		Init: func() any { return routerState{} },
		Step: func(state, input, output any) (bool, any) {
			next, want := state.(routerState).answer(input.(routerCall), limits)
			return output.(routerAnswer).agrees(want), next
		},
	}, history), "no order of these calls, each between its two times, gives their answers, with limits %d: %+v", limits, history)
}

func (c routerCall) on(r spec.ModalityRouter, config spec.ModalityRouterConfig) (a routerAnswer, err error) {
	m := config.Policies[c.lane].Modality
	switch c.op {
	case 0:
		err = r.Route(&a.accepted, 7, m)
	case 1:
		latency := 0.0
		if c.late {
			latency = math.Inf(1)
		}
		err = r.Complete(7, m, latency)
	case 2:
		err = r.SloViolationRate(&a.rate, m)
	case 3:
		counts := r.ActiveCounts()
		a.active = [2]int{counts[config.Policies[0].Modality], counts[config.Policies[1].Modality]}
	case 4:
		a.stats = r.Stats()
		a.stats.AcceptanceRate = 0 // a function of the counts
	}
	return a, err
}

func routerStats(t *trial) {
	c := drawRouterConfig(t)
	r := open(t, t.impl.ModalityRouter, c)
	var want spec.ModalityRouterStats
	for range size(t, 0, 24, "calls") {
		m := c.Policies[rapid.IntRange(0, len(c.Policies)-1).Draw(t.T, "modality")].Modality
		if rapid.IntRange(0, 3).Draw(t.T, "call") == 0 {
			complete(t, r, m, drawLatency(t))
			want.Completions++
		} else if route(t, r, m) {
			want.Routes++
		} else {
			want.Deferred++
		}
	}
	want.AcceptanceRate = share(want.Routes, want.Routes+want.Deferred)
	t.sameRouterStats(r.Stats(), want)
}

// routerRow routes a text request, and with completes completes it. Without, the
// requests of a round stay active, and an untimed refill completes them.
func routerRow(completes bool) func(spec.Implementation, spec.WorkloadName, spec.Workload) (timing, error) {
	return func(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
		c := spec.DefaultModalityRouterConfig()
		c.Policies = c.Policies[:w.Int("modalities", 3)]
		for i, limit := range w.Ints("max_concurrent") {
			c.Policies[i].MaxConcurrent = limit
		}
		r, err := impl.ModalityRouter(c)
		if err != nil {
			return timing{}, err
		}
		var accepted bool
		t := timing{
			calls:   64,
			repeats: c.Policies[0].MaxConcurrent,
			call: func(i int) error {
				if err := r.Route(&accepted, int64(i), spec.Text); err != nil || !completes {
					return err
				}
				return r.Complete(int64(i), spec.Text, 20)
			},
			result: func() (any, error) { return &accepted, nil },
		}
		if !completes {
			t.calls = c.Policies[0].MaxConcurrent
			t.refill = func() error {
				for i := range t.calls {
					if err := r.Complete(int64(i), spec.Text, 20); err != nil {
						return err
					}
				}
				return nil
			}
		}
		return t, nil
	}
}

func routerSameResult(t *trial, got, want any) { t.sameResult(got, want) }
