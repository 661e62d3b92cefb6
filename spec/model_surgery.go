package spec

import (
	"fmt"
	"reflect"
	"slices"
)

// ModelSurgery removes whole layers and attention heads from a model's weights
// (LLM-Pruner, arXiv 2305.11627; ShortGPT, arXiv 2403.03853; heads: Michel et al.
// 2019, arXiv 1905.10650).
//
// Page rows: model-surgery/plan, model-surgery/estimate-reduction.
type ModelSurgery interface {
	// Plan writes a plan that removes nothing, for a model of those dimensions. nKVHeads
	// is the number of key and value heads, which the query heads share in groups of
	// n_heads/n_kv_heads; 0, or on the wire none, stands for as many as n_heads. A
	// number below 1, heads that KV heads do not divide, and n_heads·head_dim beyond an
	// int are Invalid.
	Plan(dst *SurgeryPlan, nLayers, nHeads, headDim, nKVHeads int) error
	// EstimateReduction writes
	//
	//	½·removed layers/n_layers + ½·pruned heads/(n_layers·n_heads)
	//
	// of the plan as written: heads of removed layers count too, and nothing is known of
	// the sizes of tensors. A plan that [SurgeryPlan.Validate] refuses is Invalid.
	EstimateReduction(dst *float64, plan SurgeryPlan) error
	// Apply writes the weights without the layers and heads that the plan removes.
	//
	// A tensor belongs to layer i if its name has "layer_i", not preceded by a letter or
	// digit, followed by the end or one of "._[]/": i is written without zeros before
	// it. The tensors of removed layers go. Of a layer that loses heads those change that
	// have the component "attn", where ".", "[", "]" and "/" part a name into components.
	// By the component behind it, which may be the last or have "weight" (two axes) or
	// "bias" (one axis) behind it, they are
	//
	//	q k v q_proj k_proj v_proj wq wk wv  projections: a head's head_dim rows go, of
	//	                                     weights (heads·head_dim, any) and of biases
	//	o o_proj out_proj c_proj wo          output projections: a head's head_dim columns
	//	                                     go, of weights (any, heads·head_dim); the bias
	//	                                     stays
	//
	// k and v have n_kv_heads heads, and lose the one of each group that goes. Where a
	// component behind "attn" ends in "norm" or is "ln" the tensor stays as it is, and
	// any other tensor of "attn" is Invalid. All other tensors stay as they are, bit for
	// bit.
	//
	// Names stay, or with renumber the layers that stay are numbered from 0 in their
	// order. The new weights are in any order.
	//
	// An invalid plan, no tensors, one that is empty, contradicts itself, is not finite,
	// or whose size is not what the plan says, a name that comes twice, and a name that
	// belongs to two layers are Invalid.
	Apply(dst *SurgeryResult, plan SurgeryPlan, weights []NamedTensor, renumber bool) error
	Stats() ModelSurgeryStats
}

// A NamedTensor is one of a model's weights. On the wire a list of them is an object
// keyed by name.
type NamedTensor struct {
	Name   string `wire:"@key"`
	Tensor Tensor `wire:"@value"`
}

// A SurgeryPlan says what to remove from a model of some dimensions. Layers and heads
// have the numbers of the model as it is. Their order means nothing.
type SurgeryPlan struct {
	LayersToRemove Indices      `wire:"layers_to_remove"`
	HeadsToPrune   []LayerHeads `wire:"heads_to_prune"`
	NLayers        int          `wire:"n_layers"`
	NHeads         int          `wire:"n_heads"`
	HeadDim        int          `wire:"head_dim"`
	NKVHeads       int          `wire:"n_kv_heads,omitzero"` // 0 stands for NHeads
}

// LayerHeads are heads of one layer. On the wire a list of them is an object keyed by
// layer.
type LayerHeads struct {
	Layer int     `wire:"@key"`
	Heads Indices `wire:"@value"`
}

// KVHeads returns the number of key and value heads.
func (p SurgeryPlan) KVHeads() int {
	if p.NKVHeads == 0 {
		return p.NHeads
	}
	return p.NKVHeads
}

// PrunedHeads returns the number of heads that the plan lists.
func (p SurgeryPlan) PrunedHeads() int {
	n := 0
	for _, h := range p.HeadsToPrune {
		n += len(h.Heads)
	}
	return n
}

// Validate returns an Invalid error for dimensions out of range, for layers or heads
// out of range or listed twice, for all layers or all heads of one, and for a part of
// the heads that share a KV head.
func (p SurgeryPlan) Validate() error {
	const m = "model-surgery"
	if err := firstError(
		atLeast(m, "n_layers", p.NLayers, 1),
		atLeast(m, "n_heads", p.NHeads, 1),
		atLeast(m, "head_dim", p.HeadDim, 1),
		atLeast(m, "n_kv_heads", p.NKVHeads, 0),
	); err != nil {
		return err
	}
	if p.NHeads%p.KVHeads() != 0 {
		return Reject(Invalid, m, "n_kv_heads", fmt.Sprintf("a divisor of n_heads (%d)", p.NHeads), p.NKVHeads)
	}
	if _, ok := Volume(p.NHeads, p.HeadDim); !ok {
		return Reject(Invalid, m, "head_dim", fmt.Sprintf("n_heads·head_dim within an int, with %d heads", p.NHeads), p.HeadDim)
	}
	if _, want, got := someOf(p.LayersToRemove, p.NLayers); want != "" {
		return Reject(Invalid, m, "layers_to_remove", want, got)
	}
	if len(p.HeadsToPrune) == 0 {
		return nil
	}
	layers := make(Indices, 0, 64) // on the stack, for any usual model
	for _, h := range p.HeadsToPrune {
		layers = append(layers, h.Layer)
		sorted, want, got := someOf(h.Heads, p.NHeads)
		if want == "" && !areWhole(sorted, p.NHeads/p.KVHeads()) {
			want, got = fmt.Sprintf("whole groups of the %d heads that share a KV head", p.NHeads/p.KVHeads()), fmt.Sprint(sorted)
		}
		if want != "" {
			return Reject(Invalid, m, fmt.Sprintf("heads_to_prune[%d]", h.Layer), want, got)
		}
	}
	if want, got := onceEach(layers.sorted(), p.NLayers); want != "" {
		return Reject(Invalid, m, "heads_to_prune", want, got)
	}
	return nil
}

// sorted returns the indices in ascending order: the list itself, where it is.
func (list Indices) sorted() Indices {
	if slices.IsSorted(list) {
		return list
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// someOf returns a list in ascending order, and what is wrong with it where it is not
// some of 0…n−1, each once and not all.
func someOf(list Indices, n int) (sorted Indices, want string, got any) {
	sorted = list.sorted()
	if want, got = onceEach(sorted, n); want == "" && len(sorted) == n {
		want, got = fmt.Sprintf("fewer than all %d", n), "all"
	}
	return sorted, want, got
}

// onceEach returns what is wrong with an ascending list where it does not have some of
// 0…n−1, each once.
func onceEach(sorted Indices, n int) (want string, got any) {
	for i, x := range sorted {
		if x < 0 || x >= n {
			return fmt.Sprintf("indices from 0 to %d", n-1), x
		}
		if i > 0 && x == sorted[i-1] {
			return "each index once", fmt.Sprintf("%d twice", x)
		}
	}
	return "", nil
}

// areWhole reports whether ascending heads, each listed once, make up whole groups.
func areWhole(sorted Indices, group int) bool {
	for len(sorted) > 0 {
		first := sorted[0]
		if len(sorted) < group || first%group != 0 || sorted[group-1] != first+group-1 {
			return false
		}
		sorted = sorted[group:]
	}
	return true
}

// CheckWeights rejects an argument of Apply without tensors, and tensors that are
// empty, contradict themselves or are not finite. Names are not looked at.
func (c ModelSurgeryConfig) CheckWeights(weights []NamedTensor) error {
	const m = "model-surgery"
	if len(weights) == 0 {
		return Reject(Invalid, m, "weight_dict", "at least 1 tensor", 0)
	}
	for i := range weights {
		x := &weights[i]
		if n, ok := Volume(x.Tensor.Shape...); ok && n > 0 && n == len(x.Tensor.Data) && CheckFinite(m, "", x.Tensor.Data) == nil {
			continue
		}
		name := x.Path()
		if len(x.Tensor.Data) == 0 {
			return Reject(Invalid, m, name, "at least 1 element", fmt.Sprintf("shape %v", x.Tensor.Shape))
		}
		return firstError(CheckTensor(m, name, x.Tensor), CheckFinite(m, name, x.Tensor.Data))
	}
	return nil
}

// Path names the tensor in an error.
func (x *NamedTensor) Path() string { return fmt.Sprintf("weight_dict[%.80q]", x.Name) }

// A SurgeryResult is what Apply came to.
type SurgeryResult struct {
	// NewWeights are the tensors that stay, without the heads that go.
	NewWeights []NamedTensor `wire:"new_weights,omitzero"`
	// TensorsRemoved is the number of tensors of removed layers; its name on the wire is
	// the recording's.
	TensorsRemoved int `wire:"layers_removed"`
	// HeadsPruned and EstimatedParamReduction are of the plan as written.
	HeadsPruned             int     `wire:"heads_pruned"`
	EstimatedParamReduction float64 `wire:"estimated_param_reduction"`
	// TrueParamReduction is the number of elements that went over all that there were.
	TrueParamReduction float64 `wire:"true_param_reduction,omitzero"`
}

// ModelSurgeryConfig configures ModelSurgery: there is nothing to configure.
type ModelSurgeryConfig struct{}

// DefaultModelSurgeryConfig returns the defaults.
func DefaultModelSurgeryConfig() ModelSurgeryConfig { return ModelSurgeryConfig{} }

// Validate accepts the config.
func (ModelSurgeryConfig) Validate() error { return nil }

// ModelSurgeryStats count calls.
type ModelSurgeryStats struct {
	Plans   int `wire:"total_plan_calls"`
	Applied int `wire:"total_apply_calls"`
}

const (
	surgeryMoves     = "bitwise"
	surgeryMovesWhy  = "numbers are moved, never computed with"
	surgeryShare     = "2⁻⁵⁰ relative"
	surgeryPartsText = "layers, and heads with their biases and shared KV heads, put together from the parts that stay"
)

var modelSurgery = &Module{
	Name: "model-surgery", Wave: 24,
	Summary:   "whole layers and attention heads removed from a model's weights",
	Interface: reflect.TypeFor[ModelSurgery](),
	Config:    DefaultModelSurgeryConfig(),
	Defaults:  defaults(func(ModelSurgeryConfig) ModelSurgeryConfig { return DefaultModelSurgeryConfig() }),
	Operations: []Operation{
		op[ModelSurgery]("plan", named("plan"), named("n_layers"), named("n_heads"), named("head_dim"), Param{Name: "n_kv_heads", Optional: true}),
		op[ModelSurgery]("estimate_reduction", named("reduction"), named("plan")),
		op[ModelSurgery]("apply", named("result"), named("plan"), named("weight_dict"), Param{Name: "renumber", Optional: true}),
		op[ModelSurgery]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "model-surgery/plan", Level: Must, Kind: Law,
		Text:      "A new plan lists no layers and no heads, and has the dimensions given, with as many KV heads as heads where none are given.",
		Tolerance: exact, Why: exactWhy, Source: "page row model-surgery/plan",
	}, {
		ID: "model-surgery/estimate", Level: Must, Kind: Law,
		Text:      "The estimate is ½·removed/n_layers + ½·pruned/(n_layers·n_heads) of the plan as written, heads of removed layers counted.",
		Tolerance: surgeryShare, Why: "a few operations in float64; computed again in rationals", Source: "page row model-surgery/estimate-reduction",
	}, {
		ID: "model-surgery/empty-plan", Level: Must, Kind: Law,
		Text:      "An empty plan leaves every tensor as it is, whatever its name, and removes nothing.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "the identity of plans",
	}, {
		ID: "model-surgery/layers", Level: Must, Kind: Law,
		Text:      "The tensors of removed layers go and all others stay: layer_1 is not layer_10, not layer_01 and not player_1.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "the recording, which takes any name for layer 1 that contains layer_1",
	}, {
		ID: "model-surgery/heads", Level: Must, Kind: Law,
		Text:      "The new weights are those of the model that never had the pruned heads: projections without their rows, biases without their elements, output projections without their columns, and KV heads gone with their groups.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "LLM-Pruner's dependent structures; " + surgeryPartsText,
	}, {
		ID: "model-surgery/untouched", Level: Must, Kind: Law,
		Text:      "Where heads are pruned the norms and the output bias under attn, other components and other layers stay as they are.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "the component is attn exactly: not self_attn, nor attn2",
	}, {
		ID: "model-surgery/forward", Level: Must, Kind: Law,
		Text:      "Attention of the pruned model is attention of the original with those heads' outputs zeroed, before the output projection.",
		Tolerance: exact, Why: "the attention of cross-modal-attn's ref, head by head on the same numbers; a column that is gone and one times 0 add the same, nothing",
		Source: "Michel et al. 2019: pruning is masking",
	}, {
		ID: "model-surgery/whole-groups", Level: Must, Kind: Refusal,
		Text:      "With fewer KV heads than heads, a part of the heads that share one is refused, by estimate_reduction and by apply.",
		Tolerance: exact, Why: "a plan is accepted or refused", Source: "k and v rows cannot go while a head still reads them",
	}, {
		ID: "model-surgery/unknown-projection", Level: Must, Kind: Refusal,
		Text:      "A tensor under attn that is no projection and no norm is refused where the layer loses heads, and accepted where it does not.",
		Tolerance: exact, Why: "a tensor is accepted or refused", Source: "what is not understood, such as fused q, k and v, cannot be cut right",
	}, {
		ID: "model-surgery/counts", Level: Must, Kind: Law,
		Text:      "Tensors removed are those of removed layers, heads pruned those that the plan lists, and the estimate is that of estimate_reduction.",
		Tolerance: "counts exact; estimate " + surgeryShare, Why: "as estimate", Source: "the recording's layers_removed and heads_pruned",
	}, {
		ID: "model-surgery/share", Level: Must, Kind: Law,
		Text:      "The true share is the number of elements that went over all that there were.",
		Tolerance: surgeryShare, Why: "one division in float64; elements are counted again in both lists", Source: "the estimate knows no sizes: it calls a model without layers half reduced",
	}, {
		ID: "model-surgery/renumber", Level: Must, Kind: Law,
		Text:      "With renumber the layers that stay are numbered from 0 in their order, wherever their number stands in a name, and all else is as without.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "mergekit's passthrough; without it a loader looks for layers that are gone",
	}, {
		ID: "model-surgery/composition", Level: Must, Kind: Law,
		Text:      "Removing some layers with renumber, and then others by their new numbers, is removing both at once.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "S, then T, is S ∪ T in the first numbering",
	}, {
		ID: "model-surgery/order", Level: Must, Kind: Law,
		Text:      "The order of layers, of heads and of tensors changes nothing.",
		Tolerance: surgeryMoves, Why: surgeryMovesWhy, Source: "plans and weights are sets",
	}, {
		ID: "model-surgery/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls of plan and of apply.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, withoutConfig(common("model-surgery", nil,
		"new weights bitwise, in any order; counts exact; shares "+surgeryShare, surgeryMovesWhy+"; shares are a few operations in float64", surgeryPartsText))...),
}
