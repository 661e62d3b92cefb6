package spec

import (
	"fmt"
	"reflect"
	"slices"
)

// VisionKVFuse caches keys and values of text tokens and of image tokens, each in
// a store of its own, and hands them out together: attention merged over the two
// is attention over the joined sequence.
//
// Numbers are moved, never interpreted: NaN payloads and −0 come back bit for bit.
//
// Page rows: vision-kv-fuse/append, vision-kv-fuse/get-kv.
type VisionKVFuse interface {
	// Append copies a token's key and value, both (n_heads, head_dim), behind those
	// of its modality, in O(1). With that modality full it is refused with Capacity;
	// another modality than text and vision, and wrong shapes, are Invalid.
	Append(modality Modality, key, value Matrix) error
	// GetKv points dst at the tokens of a modality in order of arrival. What dst held
	// before is neither read nor written.
	//
	// The view is read-only, may share the module's memory, and is valid until the
	// next append or reset: the one exception from the rule that results are the
	// caller's. Another modality than text and vision is Invalid.
	GetKv(dst *KVView, modality Modality) error
	// Reset empties text, vision, or both ("both", or ""), in O(1), and counts as one
	// reset. Another modality is Invalid.
	Reset(modality Modality) error
	TextLen() int
	VisionLen() int
	// MemoryRatio returns vision tokens/text tokens, 0 without text.
	MemoryRatio() float64
	Stats() VisionKVFuseStats
}

// Both stands for text and vision where a call takes either or both.
const Both Modality = "both"

// VisionKVFused appends an image token and a text token in one call, and hands out
// both stores in one call.
type VisionKVFused interface {
	// AppendFused is Append of a vision token and of a text token: both or, with
	// either modality full, neither.
	AppendFused(visionKey, visionValue, textKey, textValue Matrix) error
	// GetFused is GetKv of text and of vision.
	GetFused(dst *FusedKV) error
}

// A KVView is the keys and values of a modality, (n_heads, tokens, head_dim), for
// reading only.
type KVView struct {
	Keys   Heads `wire:"keys"`
	Values Heads `wire:"values"`
}

// FusedKV is what is known of both modalities.
type FusedKV struct {
	Text   KVView `wire:"text"`
	Vision KVView `wire:"vision"`
}

// VisionKVFuseConfig configures VisionKVFuse. All fields are ≥ 1.
type VisionKVFuseConfig struct {
	TextCapacity   int `wire:"text_capacity"`   // in tokens, default 512
	VisionCapacity int `wire:"vision_capacity"` // in tokens, default 256
	NHeads         int `wire:"n_heads"`         // default 8
	HeadDim        int `wire:"head_dim"`        // default 64
}

// DefaultVisionKVFuseConfig returns the defaults.
func DefaultVisionKVFuseConfig() VisionKVFuseConfig {
	return VisionKVFuseConfig{TextCapacity: 512, VisionCapacity: 256, NHeads: 8, HeadDim: 64}
}

// Validate returns an Invalid error that names the field out of range.
func (c VisionKVFuseConfig) Validate() error {
	const m = "vision-kv-fuse"
	if err := firstError(
		atLeast(m, "text_capacity", c.TextCapacity, 1),
		atLeast(m, "vision_capacity", c.VisionCapacity, 1),
		atLeast(m, "n_heads", c.NHeads, 1),
		atLeast(m, "head_dim", c.HeadDim, 1),
		storesFit(m, c.TextCapacity, 2, c.NHeads, c.HeadDim),
		storesFit(m, c.VisionCapacity, 2, c.NHeads, c.HeadDim),
	); err != nil {
		return err
	}
	return storesFit(m, c.TextCapacity+c.VisionCapacity, 2, c.NHeads, c.HeadDim)
}

// CheckModality rejects what is neither text nor vision.
func (VisionKVFuseConfig) CheckModality(m Modality) error {
	if m != Text && m != Vision {
		return Reject(Invalid, "vision-kv-fuse", "modality", `"text" or "vision"`, fmt.Sprintf("%q", string(m)))
	}
	return nil
}

// CheckReset rejects what is neither text nor vision nor both.
func (VisionKVFuseConfig) CheckReset(m Modality) error {
	if m != Text && m != Vision && m != Both && m != "" {
		return Reject(Invalid, "vision-kv-fuse", "modality", `"text", "vision", "both" or none`, fmt.Sprintf("%q", string(m)))
	}
	return nil
}

// CheckToken rejects a key or a value that is not (n_heads, head_dim).
func (c VisionKVFuseConfig) CheckToken(name string, token Matrix) error {
	return CheckMatrix("vision-kv-fuse", name, token, c.NHeads, c.HeadDim)
}

// Full is the error of an append to a full modality.
func (c VisionKVFuseConfig) Full(m Modality) error {
	capacity := c.TextCapacity
	if m == Vision {
		capacity = c.VisionCapacity
	}
	return Reject(Capacity, "vision-kv-fuse", string(m), fmt.Sprintf("fewer than %d tokens stored", capacity), capacity)
}

// VisionKVFuseStats count what happened so far; a reset does not clear them.
type VisionKVFuseStats struct {
	TextAppends   int `wire:"text_appends"`
	VisionAppends int `wire:"vision_appends"`
	Resets        int `wire:"total_resets"`
}

const movedWhy = "values are moved, never computed with"

var visionKVFuse = &Module{
	Name: "vision-kv-fuse", Wave: 23,
	Summary:   "keys and values of text and image tokens, stored apart and attended to together",
	Interface: reflect.TypeFor[VisionKVFuse](),
	Config:    DefaultVisionKVFuseConfig(),
	Defaults:  defaults(func(VisionKVFuseConfig) VisionKVFuseConfig { return DefaultVisionKVFuseConfig() }),
	Operations: []Operation{
		op[VisionKVFuse]("append", Param{}, named("modality"), named("key"), named("value")),
		op[VisionKVFuse]("get_kv", Param{}, named("modality")),
		op[VisionKVFuse]("reset", Param{}, Param{Name: "modality", Optional: true}),
		op[VisionKVFuse]("text_len", named("text_len")),
		op[VisionKVFuse]("vision_len", named("vision_len")),
		op[VisionKVFuse]("memory_ratio", named("memory_ratio")),
		op[VisionKVFuse]("stats", Param{}),
		optional[VisionKVFused]("append_fused", Param{}, named("vision_key"), named("vision_value"), named("text_key"), named("text_value")),
		optional[VisionKVFused]("get_fused", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "vision-kv-fuse/lists", Level: Must, Kind: Model,
		Text:      "Every answer is that of two lists of tokens, one a modality.",
		Tolerance: "bitwise; ratio 2⁻⁵⁰", Why: movedWhy + "; one division in float64", Second: "a model of two lists",
		Source: "page row vision-kv-fuse/append: cross-modal KV slot append",
	}, {
		ID: "vision-kv-fuse/round-trip", Level: Must, Kind: Law,
		Text:      "Keys and values come back bit for bit, NaN payloads and −0 included, in order of arrival.",
		Tolerance: "bitwise", Why: movedWhy, Source: "KV stores are byte movers",
	}, {
		ID: "vision-kv-fuse/isolation", Level: Must, Kind: Law,
		Text:      "What is held of a modality does not depend on what is appended to the other, or reset of it.",
		Tolerance: "bitwise", Why: movedWhy, Source: "each modality has a store of its own",
	}, {
		ID: "vision-kv-fuse/full", Level: Must, Kind: Refusal,
		Text:      "A modality takes exactly its capacity; one token more is refused, and changes nothing.",
		Tolerance: "bitwise", Why: movedWhy, Source: "preallocated stores do not grow",
	}, {
		ID: "vision-kv-fuse/full-kind", Level: Should, Kind: Refusal,
		Text:      "An append to a full modality is refused with Capacity.",
		Tolerance: exact, Why: "foreign libraries have no kinds, so this is no MUST", Source: "rules for all modules: errors come in kinds",
	}, {
		ID: "vision-kv-fuse/reset", Level: Must, Kind: Law,
		Text:      "After a reset a modality is as a new one: empty, with all its room, and nothing from before comes back, while a reset of both counts once.",
		Tolerance: "bitwise", Why: movedWhy, Source: "stale slots must be unreachable",
	}, {
		ID: "vision-kv-fuse/merged", Level: Must, Kind: Law,
		Text:      "Attention merged over the two views is attention over the joined sequence.",
		Tolerance: attentionTolerance, Why: attentionWhy, Source: "softmax over a union is the merge of its parts: the views go through cross-doc-attn, the joined sequence through big floats",
	}, {
		ID: "vision-kv-fuse/fused", Level: Must, Kind: Law, Needs: []string{"append_fused", "get_fused"},
		Text:      "A fused append is one to vision and one to text, both or neither; fused views are those of the two.",
		Tolerance: "bitwise", Why: movedWhy, Source: "page rows: append() fused image+text KV, fused retrieval",
	}, {
		ID: "vision-kv-fuse/views", Level: Must, Kind: Law,
		Text:      "A view stays as it is until the next append or reset, and shares no memory with an argument: overwriting arguments after the call changes nothing.",
		Tolerance: "bitwise", Why: movedWhy, Source: "rules for all modules: inputs are never kept; views are valid until the next append or reset",
	}, {
		ID: "vision-kv-fuse/stats", Level: Must, Kind: Law,
		Text:      "Stats count appends by modality and resets, which clear no count; the memory ratio is vision tokens/text tokens, 0 without text.",
		Tolerance: "counts exact; ratio 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}}, slices.DeleteFunc(
		common("vision-kv-fuse", nil, "bitwise; ratio 2⁻⁵⁰", movedWhy, "the model of vision-kv-fuse/lists"),
		// Views may share the module's memory: vision-kv-fuse/views stands instead.
		func(r Requirement) bool { return r.ID == "vision-kv-fuse/nothing-aliased" },
	)...),
}
