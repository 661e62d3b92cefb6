package spec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
)

// SparseMoE routes tokens to the top_k of n_experts experts (Shazeer et al. 2017,
// arXiv 1701.06538), with the load balancing loss of Switch Transformers (Fedus et
// al. 2021, arXiv 2101.03961).
//
// Page row: sparse-moe/route.
type SparseMoE interface {
	// Route writes, for hidden states x (n, hidden_dim) and gate weights W
	// (hidden_dim, n_experts), the experts of every token and their weights:
	//
	//	p       = softmax(x·W), over the experts
	//	indices = the top_k experts of greatest p, in descending order
	//	weights = pᵢ/Σp over those top_k
	//	loss    = load_balance_weight · n_experts · Σₑ meanₑ·shareₑ
	//
	// with meanₑ the mean of pₑ over the tokens, and shareₑ the share of tokens whose
	// greatest p is that of e. The order of p is that of the logits x·W, also where an
	// exponential would underflow; equals go to the lowest expert.
	//
	// With a capacity factor above 0 every expert takes at most
	//
	//	C = min(n, ⌈(capacity_factor·n·top_k/n_experts)·(1−2⁻⁵⁰)⌉)
	//
	// tokens, first come first served: token by token, and of a token by rank. A place
	// beyond that is dropped: its index is −1 and its weight +0. The token's other
	// weights stay as they were, and so does the loss. The factor 1−2⁻⁵⁰ is for
	// rounding: 1.1·10 is 11.000000000000002.
	//
	// No tokens, another width and non-finite elements are Invalid.
	Route(dst *MoERouting, hiddenStates Matrix) error
	Stats() SparseMoEStats
}

// SparseMoEDispatch groups tokens by expert and puts them together again. Indices
// are those of a routing: n·top_k of them, token by token, in [0, n_experts) and no
// two of a token the same, or −1 where a place was dropped. Another number of them
// and a repeated one are Invalid, one outside is a Range error.
type SparseMoEDispatch interface {
	// Dispatch copies the tokens bit for bit, expert by expert, and for one expert in
	// the order of the tokens. No tokens and another width are Invalid.
	Dispatch(dst *MoEDispatch, hiddenStates Matrix, indices []int32) error
	// Combine writes Σ weight·output for every token, over its places that were not
	// dropped; a token without any is 0. Expert outputs (rows, hidden_dim) are in the
	// order of Dispatch, a row for every place. Weights (n, top_k) are finite; those of
	// dropped places do not matter. Shapes that do not fit are Invalid.
	Combine(dst *Matrix, expertOutputs Matrix, indices []int32, weights Matrix) error
}

// MoERouting says which experts see which tokens.
type MoERouting struct {
	// Indices are experts: place r of token t is at t·top_k + r. −1 is a dropped place.
	Indices []int32 `wire:"indices,like=weights"`
	Weights Matrix  `wire:"weights"` // (n, top_k)
	AuxLoss float64 `wire:"aux_loss"`
	// Capacity is C, and Dropped the number of dropped places; both 0 without a
	// capacity factor.
	Capacity int `wire:"capacity"`
	Dropped  int `wire:"dropped"`
}

// MoEDispatch are tokens grouped by expert.
type MoEDispatch struct {
	Inputs Matrix  `wire:"inputs"` // (rows, hidden_dim)
	Counts []int32 `wire:"counts"` // rows of each expert
}

// SparseMoEConfig configures SparseMoE.
type SparseMoEConfig struct {
	NExperts  int `wire:"n_experts"`  // ≥ 1, default 8
	TopK      int `wire:"top_k"`      // in 1 … NExperts, default 2
	HiddenDim int `wire:"hidden_dim"` // ≥ 1, default 256
	// LoadBalanceWeight is finite and ≥ 0. Default 0.01.
	LoadBalanceWeight float64 `wire:"load_balance_weight"`
	// CapacityFactor is finite and ≥ 0. Default 0, which is no limit.
	CapacityFactor float64 `wire:"capacity_factor"`
	// GateWeights are (HiddenDim, NExperts), finite. The zero Matrix, which is the
	// default, stands for weights that are drawn from Seed.
	GateWeights Matrix `wire:"gate_weights"`
	Seed        uint64 `wire:"seed"` // default 0
}

// DefaultSparseMoEConfig returns the defaults.
func DefaultSparseMoEConfig() SparseMoEConfig {
	return SparseMoEConfig{NExperts: 8, TopK: 2, HiddenDim: 256, LoadBalanceWeight: 0.01}
}

// Validate returns an Invalid error that names the field out of range.
func (c SparseMoEConfig) Validate() error {
	const m = "sparse-moe"
	return firstError(
		atLeast(m, "n_experts", c.NExperts, 1),
		inRange(m, "top_k", fmt.Sprintf("1 … n_experts (%d)", c.NExperts), float64(c.TopK), 1 <= c.TopK && c.TopK <= c.NExperts),
		atLeast(m, "hidden_dim", c.HiddenDim, 1),
		inRange(m, "load_balance_weight", "a finite number, 0 or more", c.LoadBalanceWeight,
			c.LoadBalanceWeight >= 0 && !math.IsInf(c.LoadBalanceWeight, 1)),
		inRange(m, "capacity_factor", "a finite number, 0 or more", c.CapacityFactor,
			c.CapacityFactor >= 0 && !math.IsInf(c.CapacityFactor, 1)),
		storesFit(m, c.HiddenDim, c.NExperts),
		c.checkGate(),
	)
}

// isDrawn reports whether the gate weights are not given.
func (c SparseMoEConfig) isDrawn() bool {
	return c.GateWeights.Rows == 0 && c.GateWeights.Cols == 0 && len(c.GateWeights.Data) == 0
}

func (c SparseMoEConfig) checkGate() error {
	if c.isDrawn() {
		return nil
	}
	return firstError(
		CheckMatrix("sparse-moe", "gate_weights", c.GateWeights, c.HiddenDim, c.NExperts),
		CheckFinite("sparse-moe", "gate_weights", c.GateWeights.Data),
	)
}

// Gate returns the gate weights of a valid config: a copy of those given, or
// Gaussian ones of variance 2/(HiddenDim + NExperts) (Glorot & Bengio 2010), row by
// row from a PCG of Seed. Other implementations may draw from a generator of their
// own.
func (c SparseMoEConfig) Gate() Matrix {
	if !c.isDrawn() {
		return Matrix{Rows: c.HiddenDim, Cols: c.NExperts, Data: slices.Clone(c.GateWeights.Data)}
	}
	var gate Matrix
	gate.Resize(c.HiddenDim, c.NExperts)
	random := rand.New(rand.NewPCG(c.Seed, 0))
	deviation := math.Sqrt(2 / (float64(c.HiddenDim) + float64(c.NExperts)))
	for i := range gate.Data {
		gate.Data[i] = float32(deviation * random.NormFloat64())
	}
	return gate
}

// Capacity returns how many of n tokens an expert takes, 0 where there is no limit.
func (c SparseMoEConfig) Capacity(n int) int {
	if c.CapacityFactor == 0 {
		return 0
	}
	share := float64(c.CapacityFactor*float64(n)) * float64(c.TopK) / float64(c.NExperts)
	return max(1, int(math.Ceil(min(float64(n), float64(share*(1-0x1p-50))))))
}

// CheckHiddenStates rejects an argument of Route.
func (c SparseMoEConfig) CheckHiddenStates(hiddenStates Matrix) error {
	return firstError(
		c.CheckTokens(hiddenStates),
		CheckFinite("sparse-moe", "hidden_states", hiddenStates.Data),
	)
}

// CheckTokens rejects hidden states of no tokens or another width.
func (c SparseMoEConfig) CheckTokens(hiddenStates Matrix) error {
	return firstError(
		CheckMatrix("sparse-moe", "hidden_states", hiddenStates, -1, c.HiddenDim),
		notEmpty("sparse-moe", "hidden_states", hiddenStates),
	)
}

// CheckIndices rejects indices that no routing of n tokens has, and returns how many
// are not dropped. seen is scratch, of an element for each expert.
func (c SparseMoEConfig) CheckIndices(indices []int32, n int, seen []int) (kept int, err error) {
	const m = "sparse-moe"
	if want, ok := Volume(n, c.TopK); !ok || len(indices) != want {
		return 0, Reject(Invalid, m, "indices", fmt.Sprintf("%d tokens of %d", n, c.TopK), len(indices))
	}
	clear(seen)
	for i, e := range indices {
		token := i/c.TopK + 1
		switch {
		case e < -1 || int(e) >= c.NExperts:
			return 0, Reject(Range, m, fmt.Sprintf("indices[%d]", i), fmt.Sprintf("an expert below %d, or −1", c.NExperts), e)
		case e == -1:
			continue
		case seen[e] == token:
			return 0, Reject(Invalid, m, fmt.Sprintf("indices[%d]", i), "no expert twice for one token", e)
		}
		seen[e] = token
		kept++
	}
	return kept, nil
}

// CheckCombine rejects arguments of Combine. seen is as for CheckIndices.
func (c SparseMoEConfig) CheckCombine(expertOutputs Matrix, indices []int32, weights Matrix, seen []int) error {
	const m = "sparse-moe"
	if err := firstError(CheckMatrix(m, "weights", weights, -1, c.TopK), notEmpty(m, "weights", weights)); err != nil {
		return err
	}
	kept, err := c.CheckIndices(indices, weights.Rows, seen)
	if err != nil {
		return err
	}
	for i, e := range indices {
		if w := weights.Data[i]; e >= 0 && w-w != 0 {
			return Reject(Invalid, m, fmt.Sprintf("weights[%d]", i), "a finite number", w)
		}
	}
	return CheckMatrix(m, "expert_outputs", expertOutputs, kept, c.HiddenDim)
}

// SparseMoEStats count what Route did.
type SparseMoEStats struct {
	Calls  int `wire:"total_route_calls"`
	Tokens int `wire:"total_tokens"`
	// ExpertLoad counts the places that each expert took.
	ExpertLoad []int64 `wire:"expert_load"`
	Dropped    int     `wire:"total_dropped"`
}

const (
	moeMargin    = "m = 2u·(dim + 10)·max|logit|₁ + (2·n_experts + 16)·u, |logit|₁ = Σ|xᵢWᵢₑ|"
	moeTolerance = "indices exact, but for experts whose p differ by at most (eᵐ−1)·p + n_experts·u·2⁻¹²⁵, in any order; weights (eᵐ−1)·w + u·2⁻¹²⁵; " + moeMargin
	moeWhy       = "a logit, less the maximum, is off by (dim + 10)·u·|logit|₁, and a weight is a quotient of two exponentials; sum, exponential (4) and quotient add (2·n_experts + 16)·u; u·2⁻¹²⁵ is the spacing of subnormals"
)

var sparseMoE = &Module{
	Name: "sparse-moe", Wave: 24,
	Summary:   "tokens routed to the top k of several experts",
	Interface: reflect.TypeFor[SparseMoE](),
	Config:    DefaultSparseMoEConfig(),
	Defaults:  defaults(func(SparseMoEConfig) SparseMoEConfig { return DefaultSparseMoEConfig() }),
	Operations: []Operation{
		op[SparseMoE]("route", Param{}, named("hidden_states")),
		op[SparseMoE]("stats", Param{}),
		optional[SparseMoEDispatch]("dispatch", Param{}, named("hidden_states"), Param{Name: "indices", AnyShape: true}),
		optional[SparseMoEDispatch]("combine", named("hidden_states"), named("expert_outputs"),
			Param{Name: "indices", AnyShape: true}, named("weights")),
	},
	Requirements: append([]Requirement{{
		ID: "sparse-moe/gate", Level: Must, Kind: Law,
		Text:      "A token goes to the top_k experts of greatest probability, in that order, with their softmax as weights, all computed in big floats.",
		Tolerance: moeTolerance, Why: moeWhy, Source: "page row sparse-moe/route; Shazeer et al. 2017, Mixtral (arXiv 2401.04088)",
	}, {
		ID: "sparse-moe/normalised", Level: Must, Kind: Law,
		Text:      "Every token has top_k different experts, with weights that are not negative, descend and sum to 1.",
		Tolerance: "|Σw − 1| ≤ (2·top_k + 8)·u; the rest exact", Why: "top_k numbers are added, divided by their sum and rounded; rounding is monotone", Source: "weights are renormalised over the chosen experts",
	}, {
		ID: "sparse-moe/ties", Level: Must, Kind: Law,
		Text:      "Of equally probable experts those of the lowest index come first.",
		Tolerance: exact, Why: "hidden states and gate weights are small integers, and sums of their products exact", Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "sparse-moe/nested", Level: Must, Kind: Law,
		Text:      "The experts for a smaller top_k are the first of those for a larger one.",
		Tolerance: exact, Why: "probabilities do not depend on top_k", Source: "the order of the experts is one order",
	}, {
		ID: "sparse-moe/shift", Level: Must, Kind: Law,
		Text:      "Adding one vector to the gate weights of every expert changes neither experts nor weights.",
		Tolerance: "twice that of gate, before and after", Why: "two results; logits shift by a constant, their rounding errors grow with them", Source: "softmax is invariant to a shift",
	}, {
		ID: "sparse-moe/experts", Level: Must, Kind: Law,
		Text:      "Experts in another order are chosen under their new names, with the same weights.",
		Tolerance: "twice that of gate", Why: "two results, each off by its bound", Source: "experts have no position but in ties",
	}, {
		ID: "sparse-moe/tokens", Level: Must, Kind: Law,
		Text:      "A token routed alone has the experts and weights that it has among others.",
		Tolerance: "twice that of gate", Why: "two results, each off by its bound", Source: "without a capacity tokens do not see each other",
	}, {
		ID: "sparse-moe/aux-loss", Level: Must, Kind: Law,
		Text:      "The loss is load_balance_weight·n_experts·Σ mean·share, computed in big floats.",
		Tolerance: "((eᵐ−1) + (n + n_experts + 8)·u)·loss + load_balance_weight·n_experts·u·2⁻¹²⁵, " + moeMargin + " over all tokens; tokens whose greatest p are near each other are not drawn",
		Why:       "p is off as a weight is; n numbers are averaged, and n_experts products added", Source: "Switch Transformers, arXiv 2101.03961, equation 4",
	}, {
		ID: "sparse-moe/loss-bounds", Level: Must, Kind: Law,
		Text:      "The loss is load_balance_weight where all experts are equally probable, and never above load_balance_weight·n_experts.",
		Tolerance: "(n + 2·n_experts + 16)·u relative", Why: "sums of n and of n_experts numbers, a softmax and a product", Source: "means and shares each sum to 1",
	}, {
		ID: "sparse-moe/seeded", Level: Must, Kind: Law,
		Text:      "Gate weights that are not given are a function of the seed: the same seed routes alike, and another one otherwise.",
		Tolerance: "bitwise", Why: "an implementation is compared with itself", Source: "the module's contract: drawn from a seeded generator",
	}, {
		ID: "sparse-moe/xavier", Level: Must, Kind: Law,
		Text:      "Gate weights that are not given have the variance 2/(hidden_dim + n_experts).",
		Tolerance: "a measured variance over the wanted one in [0.7, 1.4]", Why: "it is that of 64·15 independent numbers: a χ² of 960 degrees of freedom is outside with a probability below 1e-11",
		Source: "Glorot & Bengio 2010: the Xavier scale",
	}, {
		ID: "sparse-moe/capacity", Level: Must, Kind: Law,
		Text:      "With a capacity factor, expert by expert the first C places are kept, in the order of tokens and of ranks, and the rest are dropped and counted, without a change to the other weights and the loss.",
		Tolerance: exact, Why: "an implementation is compared with itself without a limit; C is computed from a factor in hundredths, in integers", Source: "GShard (arXiv 2006.16668) and Switch Transformers: capacity = tokens·top_k/experts·capacity factor",
	}, {
		ID: "sparse-moe/no-drops", Level: Must, Kind: Law,
		Text:      "With a capacity factor of n_experts/top_k or more nothing is dropped.",
		Tolerance: exact, Why: "C is then the number of tokens, and an expert takes a token once", Source: "the definition of the capacity",
	}, {
		ID: "sparse-moe/dispatch", Level: Must, Kind: Law, Needs: []string{"dispatch"},
		Text:      "Dispatched tokens are the hidden states bit for bit, grouped by expert in the order of tokens, and counted.",
		Tolerance: "bitwise", Why: "no arithmetic is involved", Source: "MegaBlocks, arXiv 2211.15841: grouped computation",
	}, {
		ID: "sparse-moe/combine", Level: Must, Kind: Law, Needs: []string{"combine"},
		Text:      "Combined tokens are the weighted sums of their experts' outputs, and 0 where all places were dropped.",
		Tolerance: "per element (top_k + 2)·u·Σ|w·o| + (top_k + 1)·u·2⁻¹²⁵", Why: "the forward error of a sum of top_k products, taken in any order; subnormal products are off by their spacing; the sum is computed again in big floats",
		Source: "Shazeer et al. 2017, equation 1",
	}, {
		ID: "sparse-moe/identity-experts", Level: Must, Kind: Law, Needs: []string{"dispatch", "combine"},
		Text:      "Where experts answer with what they got and nothing is dropped, tokens that are routed, dispatched and combined come back.",
		Tolerance: "per element (3·top_k + 12)·u·|x| + (top_k + 2)·u·2⁻¹²⁵", Why: "the weights sum to 1 within normalised's (2·top_k + 8)·u, and combine adds top_k products", Source: "weights sum to 1",
	}, {
		ID: "sparse-moe/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls, tokens, dropped places and the places that each expert took, which sum to tokens·top_k less the dropped ones.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats; the load that the loss is to balance",
	}}, common("sparse-moe", nil,
		moeTolerance+"; loss as aux-loss; where a token's experts are excused, the loss and what a capacity drops are too; dispatched tokens bitwise; combined ones as there",
		moeWhy, "softmax, selection and loss in big floats")...),
}
