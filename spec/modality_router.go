package spec

import (
	"fmt"
	"math"
	"reflect"
)

// ModalityRouter admits requests, modality by modality, up to a number of active
// ones each, and watches how many complete within their latency target.
//
// All calls are safe under concurrent use, and linearizable: each takes effect at
// one instant between its call and its return. A call takes O(1) time but for
// ActiveCounts, and no memory: requests are counted, not kept.
//
// Page rows: modality-router/route-complete, modality-router/route-best.
type ModalityRouter interface {
	// Route writes whether a request is accepted: while fewer than the policy's
	// MaxConcurrent requests of its modality are active. It is then active until it
	// completes; otherwise it is deferred, and nothing is kept of it. The id is the
	// caller's and is not looked at. A modality without a policy is Unknown.
	Route(dst *bool, id int64, modality Modality) error
	// Complete ends an active request of a modality, after a latency in
	// milliseconds. With none active there is still none, and the completion counts.
	// A modality without a policy is Unknown, a latency that is NaN or negative
	// Invalid.
	Complete(id int64, modality Modality, latencyMS float64) error
	// SloViolationRate writes the share of a modality's completions whose latency
	// was above the target in force when they completed, 0 without any. A modality
	// without a policy is Unknown.
	SloViolationRate(dst *float64, modality Modality) error
	// ActiveCounts returns the active requests of every modality with a policy.
	ActiveCounts() map[Modality]int
	// Register adds a policy, or replaces that of its modality, whose counts and
	// history stay: requests beyond a lower limit stay active. A policy out of range
	// is Invalid.
	Register(policy ModalityPolicy) error
	Stats() ModalityRouterStats
}

// A ModalityPolicy is what a router grants a modality.
type ModalityPolicy struct {
	Modality        Modality `wire:"modality"`          // not empty
	TargetLatencyMS float64  `wire:"target_latency_ms"` // finite and > 0, default 100
	MaxConcurrent   int      `wire:"max_concurrent"`    // ≥ 1, default 4
	// Priority tells a scheduler which modality matters more, default 1. The router
	// keeps it and does not use it.
	Priority int `wire:"priority"`
}

// DefaultModalityPolicy returns the defaults of a modality.
func DefaultModalityPolicy(m Modality) ModalityPolicy {
	return ModalityPolicy{Modality: m, TargetLatencyMS: 100, MaxConcurrent: 4, Priority: 1}
}

// Default is what fields that are missing on the wire take.
func (ModalityPolicy) Default() any { return DefaultModalityPolicy("") }

// Validate returns an Invalid error that names the field out of range.
func (p ModalityPolicy) Validate() error { return p.validate("policy") }

func (p ModalityPolicy) validate(name string) error {
	const m = "modality-router"
	if p.Modality == "" {
		return Reject(Invalid, m, name+".modality", "a name", "")
	}
	// Names are put together for an error only: Register is called while serving.
	if t := p.TargetLatencyMS; !(t > 0) || math.IsInf(t, 1) {
		return Reject(Invalid, m, name+".target_latency_ms", "a finite number above 0", t)
	}
	if p.MaxConcurrent < 1 {
		return Reject(Invalid, m, name+".max_concurrent", "at least 1", p.MaxConcurrent)
	}
	return nil
}

// ModalityRouterConfig configures ModalityRouter.
type ModalityRouterConfig struct {
	// Policies are one or more, of different modalities. Default: text, vision and
	// audio, each with DefaultModalityPolicy.
	Policies []ModalityPolicy `wire:"policies"`
}

// DefaultModalityRouterConfig returns the defaults.
func DefaultModalityRouterConfig() ModalityRouterConfig {
	return ModalityRouterConfig{[]ModalityPolicy{
		DefaultModalityPolicy(Text), DefaultModalityPolicy(Vision), DefaultModalityPolicy("audio"),
	}}
}

// Validate returns an Invalid error that names the policy and field out of range.
func (c ModalityRouterConfig) Validate() error {
	const m = "modality-router"
	if len(c.Policies) == 0 {
		return Reject(Invalid, m, "policies", "at least 1 policy", 0)
	}
	seen := map[Modality]bool{}
	for i, p := range c.Policies {
		name := fmt.Sprintf("policies[%d]", i)
		if err := p.validate(name); err != nil {
			return err
		}
		if seen[p.Modality] {
			return Reject(Invalid, m, name+".modality", "another modality than the policies before", fmt.Sprintf("%q", string(p.Modality)))
		}
		seen[p.Modality] = true
	}
	return nil
}

// CheckLatency rejects a latency that is NaN or negative.
func (ModalityRouterConfig) CheckLatency(latencyMS float64) error {
	return inRange("modality-router", "latency_ms", "a number of at least 0", latencyMS, latencyMS >= 0)
}

// UnknownModality is the error of a modality without a policy.
func (ModalityRouterConfig) UnknownModality(modality Modality) error {
	return Reject(Unknown, "modality-router", "modality", "a modality with a policy", fmt.Sprintf("%q", string(modality)))
}

// ModalityRouterStats count what happened so far, over all modalities.
type ModalityRouterStats struct {
	Routes      int `wire:"total_routes"` // accepted
	Deferred    int `wire:"total_deferred"`
	Completions int `wire:"total_completions"`
	// AcceptanceRate is Routes/(Routes+Deferred), 0 before any.
	AcceptanceRate float64 `wire:"acceptance_rate"`
}

var modalityRouter = &Module{
	Name: "modality-router", Wave: 23,
	Summary:   "requests admitted by modality, and their latency targets watched",
	Interface: reflect.TypeFor[ModalityRouter](),
	Config:    DefaultModalityRouterConfig(),
	Defaults:  defaults(func(ModalityRouterConfig) ModalityRouterConfig { return DefaultModalityRouterConfig() }),
	Operations: []Operation{
		op[ModalityRouter]("route", named("accepted"), named("req_id"), named("modality")),
		op[ModalityRouter]("complete", Param{}, named("req_id"), named("modality"), named("latency_ms")),
		op[ModalityRouter]("slo_violation_rate", named("rate"), named("modality")),
		op[ModalityRouter]("active_counts", named("active")),
		op[ModalityRouter]("register", Param{}, named("policy")),
		op[ModalityRouter]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "modality-router/history", Level: Must, Kind: Model,
		Text:      "Every answer is what the history of routes, completions and registrations comes to.",
		Tolerance: "counts exact; rates 2⁻⁵⁰", Why: "one division in float64", Second: "a model that keeps every event and counts them anew for each answer",
		Source: "page row modality-router/route-complete: type-dispatch routing",
	}, {
		ID: "modality-router/limit", Level: Must, Kind: Law,
		Text:      "Of requests that do not complete exactly max_concurrent are accepted, whatever came between, and each completion lets one more in.",
		Tolerance: exact, Why: exactWhy, Source: "the policy's name",
	}, {
		ID: "modality-router/isolation", Level: Must, Kind: Law,
		Text:      "What a modality is answered does not depend on the traffic of others.",
		Tolerance: exact, Why: exactWhy, Source: "limits and targets are a modality's own",
	}, {
		ID: "modality-router/spare-completion", Level: Must, Kind: Law,
		Text:      "A completion with no request active counts, and leaves none active: it buys no room.",
		Tolerance: exact, Why: exactWhy, Source: "the recording; active is never below 0",
	}, {
		ID: "modality-router/slo", Level: Must, Kind: Law,
		Text:      "The violation rate is the share of completions above the target, one at the target being none of them; 0 without any.",
		Tolerance: "2⁻⁵⁰", Why: "one division in float64", Source: "a target is met by what takes as long",
	}, {
		ID: "modality-router/register", Level: Must, Kind: Law,
		Text:      "A registered policy holds from then on: its limit for the requests to come, beside those active, its target for the completions to come, beside those counted.",
		Tolerance: "counts exact; rates 2⁻⁵⁰", Why: "one division in float64", Source: "the module's contract: counts and history stay",
	}, {
		ID: "modality-router/concurrent", Level: Must, Kind: Law,
		Text:      "Under concurrent use active is never negative nor above the limit, and at rest it is what was accepted less what completed, where each accepted request completes once; nothing is lost from stats.",
		Tolerance: exact, Why: exactWhy, Source: "the module's contract: safe under concurrent use",
	}, {
		ID: "modality-router/linearizable", Level: Must, Kind: Model,
		Text:      "The answers to concurrent calls are those of the same calls in some order that respects which call ended before another began.",
		Tolerance: exact, Why: exactWhy, Second: "a sequential model, and the search for an order by package porcupine",
		Source: "Herlihy and Wing 1990",
	}, {
		ID: "modality-router/stats", Level: Must, Kind: Law,
		Text:      "Stats count accepted and deferred requests and completions; the acceptance rate is accepted/(accepted+deferred), 0 before any.",
		Tolerance: "counts exact; rate 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}}, common("modality-router", nil, "counts exact; rates 2⁻⁵⁰", "one division in float64", "a model that keeps every event and counts them anew")...),
}
