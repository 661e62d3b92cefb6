package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var modelSurgery = spec.ModuleByName("model-surgery")

var modelSurgeryModule = &module{
	spec: modelSurgery,
	laws: map[string]func(*trial){
		"plan":               surgeryNewPlan,
		"estimate":           surgeryEstimate,
		"empty-plan":         surgeryEmptyPlan,
		"layers":             surgeryLayers,
		"heads":              surgeryHeads,
		"untouched":          surgeryUntouched,
		"forward":            surgeryForward,
		"whole-groups":       surgeryWholeGroups,
		"unknown-projection": surgeryUnknownProjection,
		"counts":             surgeryCounts,
		"share":              surgeryShare,
		"renumber":           surgeryRenumber,
		"composition":        surgeryComposition,
		"order":              surgeryOrder,
		"stats":              surgeryStats,
	},
	program:  surgeryProgram,
	badSteps: surgeryBadSteps,
	equal: map[string]comparison{
		"plan": func(t *trial, _ any, _ []any, got, want any) { sameSurgeryPlan(t, got, want) },
		"apply": func(t *trial, _ any, _ []any, got, want any) {
			g, w := got.(*spec.SurgeryResult), want.(*spec.SurgeryResult)
			t.equal("layers_removed ", g.TensorsRemoved, w.TensorsRemoved)
			t.equal("heads_pruned ", g.HeadsPruned, w.HeadsPruned)
			t.within("estimated_param_reduction", g.EstimatedParamReduction, w.EstimatedParamReduction, 0x1p-50*w.EstimatedParamReduction)
			sameWeights(t, g.NewWeights, w.NewWeights)
			t.within("true_param_reduction", g.TrueParamReduction, w.TrueParamReduction, 0x1p-50*w.TrueParamReduction)
		},
	},
	deviations: surgeryDeviations(),
	deviatesIn: newWeights + ": ",
	rows: []row{
		{"model-surgery/plan", surgeryPlanRow, sameSurgeryPlan},
		{"model-surgery/estimate-reduction", surgeryEstimateRow, func(t *trial, got, want any) {
			t.within("reduction", *got.(*float64), *want.(*float64), 0x1p-50**want.(*float64))
		}},
	},
}

// surgeryDeviations are the recorded calls of apply that were not refused: Squish 6.0.0
// computes the new weights, and drops them.
func surgeryDeviations() map[string]string {
	known := map[string]string{}
	for i := range 16 {
		known[fmt.Sprintf("model-surgery/a%d (case %d)", i, i)] = "apply computes the new weights and returns only counts: nothing is cut from the model"
	}
	return known
}

// newWeights begins what is said of a result's weights.
const newWeights = "new_weights"

// sameWeights compares tensors by name, bit for bit.
func sameWeights(t *trial, got, want []spec.NamedTensor) {
	t.Helper()
	got, want = sortedWeights(got), sortedWeights(want)
	if !slices.Equal(weightNames(got), weightNames(want)) {
		t.fail(t.symptom, "%s: got %q, want %q", newWeights, weightNames(got), weightNames(want))
	}
	for i, w := range want {
		at := fmt.Sprintf("%s[%q]", newWeights, w.Name)
		t.equal(at+": shape", got[i].Tensor.Shape, w.Tensor.Shape)
		t.sameBits(at, got[i].Tensor.Data, w.Tensor.Data)
	}
	t.asserted++
}

func sortedWeights(weights []spec.NamedTensor) []spec.NamedTensor {
	return slices.SortedFunc(slices.Values(weights), func(a, b spec.NamedTensor) int { return strings.Compare(a.Name, b.Name) })
}

func weightNames(weights []spec.NamedTensor) []string {
	var names []string
	for _, w := range weights {
		names = append(names, w.Name)
	}
	return names
}

func elementsOf(weights []spec.NamedTensor) (n int64) {
	for _, w := range weights {
		n += int64(len(w.Tensor.Data))
	}
	return n
}

func sameSurgeryPlan(t *trial, got, want any) {
	t.Helper()
	g, w := *got.(*spec.SurgeryPlan), *want.(*spec.SurgeryPlan)
	g.NKVHeads, w.NKVHeads = g.KVHeads(), w.KVHeads() // 0 stands for as many as heads
	t.sameBits("plan", g, w)
}

// A surgeryModel is a model in parts, so that one without some of them can be put
// together: what surgery must come to, without cutting anything.
type surgeryModel struct {
	dims   spec.SurgeryPlan // which lists nothing
	hidden int
	names  surgeryNames
	layers []layerParts
	rest   []spec.NamedTensor // of no layer, whatever their names look like
}

// surgeryNames are a way of naming tensors.
type surgeryNames struct {
	layer        string // with %[1]d for the number
	part         string // with %s for a component behind it
	q, k, v, o   string
	weight, bias string // the component behind a projection, "" for none
	biased       bool   // projections have biases
}

// layerParts are a layer's parts: rows and biases of queries by head, of keys and
// values by KV head, and output columns by head, as (hidden, head_dim).
type layerParts struct {
	q, k, v, o [][]float32
	bq, bk, bv [][]float32
	bo         []float32
	rest       []layerTensor // all else
}

type layerTensor struct {
	components []string
	tensor     spec.Tensor
}

var (
	surgeryLayerNames = []string{"layer_%[1]d", "model.layer_%[1]d", "encoder_layer_%[1]d", "blocks/layer_%[1]d", "[layer_%[1]d]", "layer_%[1]d_", "layer_%[1]d.layer_%[1]d"}
	surgeryPartNames  = []string{".%s", "/%s", "[%s]"}
	surgeryRoles      = [][4]string{{"q", "k", "v", "o"}, {"q_proj", "k_proj", "v_proj", "o_proj"}, {"wq", "wk", "wv", "wo"}, {"q", "k_proj", "wv", "out_proj"}, {"q", "k", "v", "c_proj"}}
	surgeryKinds      = [][2]string{{"", "bias"}, {"weight", "bias"}, {"weight", ""}}
)

func (n surgeryNames) name(layer int, components ...string) string {
	name := fmt.Sprintf(n.layer, layer)
	for _, c := range components {
		if c != "" {
			name += fmt.Sprintf(n.part, c)
		}
	}
	return name
}

// drawModel draws a model of at least so many layers.
func drawModel(t *trial, leastLayers, mostLayers, mostKVHeads int) surgeryModel {
	kv, group := size(t, 1, mostKVHeads, "n_kv_heads"), size(t, 1, 2, "group")
	m := surgeryModel{hidden: size(t, 1, 3, "hidden"), dims: spec.SurgeryPlan{
		NLayers: size(t, leastLayers, mostLayers, "n_layers"), NHeads: kv * group, HeadDim: size(t, 1, 2, "head_dim"), NKVHeads: kv,
	}}
	if group == 1 && rapid.Bool().Draw(t.T, "KV heads left out") {
		m.dims.NKVHeads = 0
	}
	roles := rapid.SampledFrom(surgeryRoles).Draw(t.T, "roles")
	kind := rapid.SampledFrom(surgeryKinds).Draw(t.T, "kinds")
	m.names = surgeryNames{
		layer: rapid.SampledFrom(surgeryLayerNames).Draw(t.T, "layer name"), part: rapid.SampledFrom(surgeryPartNames).Draw(t.T, "part name"),
		q: roles[0], k: roles[1], v: roles[2], o: roles[3], weight: kind[0], bias: kind[1], biased: rapid.Bool().Draw(t.T, "biases"),
	}
	s := rapid.SampledFrom(anyStyles).Draw(t.T, "weights style")
	r := source(t, "weights")
	for range m.dims.NLayers {
		m.layers = append(m.layers, m.fillLayer(s, r))
	}
	rows := m.dims.NHeads * m.dims.HeadDim
	for _, name := range []string{"embed", "head.attn.q", "player_0.attn.q", "layer_00.attn.q", "layer_0x.attn.q", "layer_.attn.q", "layer0.attn.q",
		"layer_1-attn.q", fmt.Sprintf("layer_%d.attn.q", 10*m.dims.NLayers), "0layer_0.attn.q", "élayer_0.attn.q", "layer_18446744073709551616.attn.q"} {
		if r.IntN(6) == 0 {
			m.rest = append(m.rest, spec.NamedTensor{Name: name, Tensor: filledTensor(s, r, rows, m.hidden)})
		}
	}
	m.rest = append(m.rest, spec.NamedTensor{Name: "temperature", Tensor: filledTensor(s, r)})
	return m
}

func filledTensor(s style, r *rand.Rand, shape ...int) spec.Tensor {
	n, _ := spec.Volume(shape...)
	x := spec.Tensor{Shape: shape, Data: make([]float32, n)}
	s.fill(r, x.Data)
	return x
}

func (m surgeryModel) fillLayer(s style, r *rand.Rand) layerParts {
	blocks := func(n, elements int) (out [][]float32) {
		for range n {
			out = append(out, filledTensor(s, r, elements).Data)
		}
		return out
	}
	heads, kv, dim := m.dims.NHeads, m.dims.KVHeads(), m.dims.HeadDim
	l := layerParts{
		q: blocks(heads, dim*m.hidden), k: blocks(kv, dim*m.hidden), v: blocks(kv, dim*m.hidden), o: blocks(heads, m.hidden*dim),
		bq: blocks(heads, dim), bk: blocks(kv, dim), bv: blocks(kv, dim), bo: blocks(1, m.hidden)[0],
	}
	for _, x := range []struct {
		shape      []int
		components []string
	}{
		{[]int{heads * dim, m.hidden}, []string{"mlp", "up"}},
		{[]int{m.hidden}, []string{"attn", "norm", "weight"}},
		{[]int{dim}, []string{"attn", "q_norm"}},
		{[]int{heads * dim, 1}, []string{"attn", "layernorm", "weight"}},
		{[]int{heads * dim}, []string{"attn", "q", "norm"}},
		{[]int{heads * dim, heads * dim}, []string{"attn", "ln"}},
		{[]int{heads * dim, m.hidden}, []string{"self_attn", "q_proj", "weight"}},
		{[]int{m.hidden, heads * dim}, []string{"cross_attn", "o_proj"}},
		{[]int{heads * dim, m.hidden}, []string{"attn2", "q"}},
		{[]int{heads * dim}, []string{"attn_q", "bias"}},
		{[]int{2, 1, 2}, []string{"conv"}},
		{nil, []string{"gain"}},
	} {
		if r.IntN(6) == 0 {
			l.rest = append(l.rest, layerTensor{x.components, filledTensor(s, r, x.shape...)})
		}
	}
	return l
}

// keptHeads are the heads of a layer that a plan leaves.
func keptHeads(p spec.SurgeryPlan, layer int) []int {
	heads := upTo(p.NHeads)
	for _, pruned := range p.HeadsToPrune {
		if pruned.Layer == layer {
			heads = slices.DeleteFunc(heads, func(h int) bool { return slices.Contains(pruned.Heads, h) })
		}
	}
	return heads
}

func keptLayers(p spec.SurgeryPlan) []int {
	return slices.DeleteFunc(upTo(p.NLayers), func(i int) bool { return slices.Contains(p.LayersToRemove, i) })
}

// without puts the model together from the parts that a plan leaves.
func (m surgeryModel) without(p spec.SurgeryPlan, renumber bool) []spec.NamedTensor {
	all := slices.Clone(m.rest)
	for rank, i := range keptLayers(p) {
		number := i
		if renumber {
			number = rank
		}
		all = append(all, m.layerTensors(m.layers[i], number, keptHeads(p, i))...)
	}
	return all
}

// whole is the model as it is.
func (m surgeryModel) whole() []spec.NamedTensor { return m.without(m.dims, false) }

// layerTensors puts a layer with some of its heads together.
func (m surgeryModel) layerTensors(l layerParts, number int, heads []int) (all []spec.NamedTensor) {
	group, dim := m.dims.NHeads/m.dims.KVHeads(), m.dims.HeadDim
	var kv []int
	for _, h := range heads {
		if h%group == 0 {
			kv = append(kv, h/group)
		}
	}
	add := func(x spec.Tensor, components ...string) {
		all = append(all, spec.NamedTensor{Name: m.names.name(number, components...), Tensor: x})
	}
	for _, x := range []struct {
		role         string
		rows, biases [][]float32
		heads        []int
	}{{m.names.q, l.q, l.bq, heads}, {m.names.k, l.k, l.bk, kv}, {m.names.v, l.v, l.bv, kv}} {
		add(spec.Tensor{Shape: []int{len(x.heads) * dim, m.hidden}, Data: joined(x.rows, x.heads)}, "attn", x.role, m.names.weight)
		if m.names.biased {
			add(spec.Tensor{Shape: []int{len(x.heads) * dim}, Data: joined(x.biases, x.heads)}, "attn", x.role, m.names.bias)
		}
	}
	columns := spec.Tensor{Shape: []int{m.hidden, len(heads) * dim}}
	for r := range m.hidden {
		for _, h := range heads {
			columns.Data = append(columns.Data, l.o[h][r*dim:(r+1)*dim]...)
		}
	}
	add(columns, "attn", m.names.o, m.names.weight)
	if m.names.biased {
		add(spec.Tensor{Shape: []int{m.hidden}, Data: l.bo}, "attn", m.names.o, m.names.bias)
	}
	for _, x := range l.rest {
		add(x.tensor, x.components...)
	}
	return all
}

func joined(blocks [][]float32, which []int) (all []float32) {
	for _, i := range which {
		all = append(all, blocks[i]...)
	}
	return all
}

// drawSome draws some of n things, never all, in any order.
func drawSome(t *trial, n int, label string) spec.Indices {
	r := source(t, label)
	return r.Perm(n)[:rapid.IntRange(0, n-1).Draw(t.T, label)]
}

// drawPrunedHeads draws whole groups of heads for some layers, in any order.
func (m surgeryModel) drawPrunedHeads(t *trial) (list []spec.LayerHeads) {
	group := m.dims.NHeads / m.dims.KVHeads()
	order := source(t, "heads order")
	for _, layer := range order.Perm(m.dims.NLayers) {
		if rapid.IntRange(0, 3).Draw(t.T, "spared") == 0 {
			continue
		}
		heads := spec.Indices{}
		for _, g := range drawSome(t, m.dims.KVHeads(), "pruned groups") {
			for h := range group {
				heads = append(heads, g*group+h)
			}
		}
		order.Shuffle(len(heads), func(i, j int) { heads[i], heads[j] = heads[j], heads[i] })
		list = append(list, spec.LayerHeads{Layer: layer, Heads: heads})
	}
	return list
}

// drawPlan draws a plan that Validate accepts.
func (m surgeryModel) drawPlan(t *trial) spec.SurgeryPlan {
	p := m.dims
	p.LayersToRemove, p.HeadsToPrune = drawSome(t, p.NLayers, "layers to remove"), m.drawPrunedHeads(t)
	return p
}

// operate applies a plan with a new instance.
func operate(t *trial, p spec.SurgeryPlan, weights []spec.NamedTensor, renumber bool) spec.SurgeryResult {
	t.Helper()
	var result spec.SurgeryResult
	t.must(open(t, t.impl.ModelSurgery, spec.ModelSurgeryConfig{}).Apply(&result, p, weights, renumber))
	return result
}

func estimated(t *trial, p spec.SurgeryPlan) float64 {
	t.Helper()
	var reduction float64
	t.must(open(t, t.impl.ModelSurgery, spec.ModelSurgeryConfig{}).EstimateReduction(&reduction, p))
	return reduction
}

func surgeryProgram(t *trial, _ spec.Variant) program {
	p := program{config: spec.ModelSurgeryConfig{}}
	for range size(t, 1, 2, "rounds") {
		m := drawModel(t, 1, 2, 2)
		p.steps = append(p.steps,
			call(modelSurgery, "plan", m.dims.NLayers, m.dims.NHeads, m.dims.HeadDim, m.dims.NKVHeads),
			call(modelSurgery, "estimate_reduction", drawLargePlan(t, m)),
			call(modelSurgery, "apply", m.drawPlan(t), m.whole(), rapid.Bool().Draw(t.T, "renumber")))
	}
	return p
}

// drawLargePlan draws a plan whose model has, now and then, more layers times heads
// than an int has.
func drawLargePlan(t *trial, m surgeryModel) spec.SurgeryPlan {
	p := m.drawPlan(t)
	p.NLayers *= rapid.SampledFrom([]int{1, 1, 1 << 40}).Draw(t.T, "times as many layers")
	times := rapid.SampledFrom([]int{1, 1, 1 << 40}).Draw(t.T, "times as many heads")
	p.NHeads, p.NKVHeads = p.NHeads*times, p.NKVHeads*times
	return p
}

func surgeryBadSteps(t *trial, _ any) []badStep {
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	for _, dims := range [][4]int{
		{0, 2, 2, 0}, {-1, 2, 2, 0}, {math.MinInt, 2, 2, 0}, {2, 0, 2, 0}, {2, -1, 2, 0}, {2, 2, 0, 0}, {2, 2, -1, 0},
		{2, 2, 2, -1}, {2, 4, 2, 3}, {2, 2, 2, 4}, {2, 2, 2, math.MaxInt}, {2, math.MaxInt, 2, 0}, {2, 1 << 32, 1 << 32, 0},
	} {
		bad(fmt.Sprintf("layers, heads, head_dim and KV heads %v", dims), call(modelSurgery, "plan", dims[0], dims[1], dims[2], dims[3]))
	}

	s, r := rapid.SampledFrom(moderateStyles).Draw(t.T, "weights style"), source(t, "weights")
	good := spec.SurgeryPlan{NLayers: 3, NHeads: 4, HeadDim: 2, NKVHeads: 2, HeadsToPrune: []spec.LayerHeads{{Layer: 1, Heads: spec.Indices{0, 1}}}}
	tensor := func(name string, shape ...int) spec.NamedTensor {
		return spec.NamedTensor{Name: name, Tensor: filledTensor(s, r, shape...)}
	}
	weights := []spec.NamedTensor{tensor("layer_1.attn.q", 8, 3), tensor("layer_0.attn.k", 4, 3), tensor("embed", 2)}
	for _, wrong := range []struct {
		what  string
		spoil func(p *spec.SurgeryPlan)
	}{
		{"no layers", func(p *spec.SurgeryPlan) { p.NLayers = 0 }},
		{"no heads", func(p *spec.SurgeryPlan) { p.NHeads = 0 }},
		{"head_dim −2", func(p *spec.SurgeryPlan) { p.HeadDim = -2 }},
		{"n_kv_heads −2", func(p *spec.SurgeryPlan) { p.NKVHeads = -2 }},
		{"3 KV heads of 4", func(p *spec.SurgeryPlan) { p.NKVHeads = 3 }},
		{"heads beyond an int", func(p *spec.SurgeryPlan) { p.NHeads, p.HeadDim = 1<<40, 1<<40 }},
		{"layer 3 of 3", func(p *spec.SurgeryPlan) { p.LayersToRemove = spec.Indices{3} }},
		{"layer −1", func(p *spec.SurgeryPlan) { p.LayersToRemove = spec.Indices{0, -1} }},
		{"layer −2⁶³", func(p *spec.SurgeryPlan) { p.LayersToRemove = spec.Indices{math.MinInt} }},
		{"a layer twice", func(p *spec.SurgeryPlan) { p.LayersToRemove = spec.Indices{2, 2} }},
		{"a layer twice, apart", func(p *spec.SurgeryPlan) { p.LayersToRemove = spec.Indices{2, 0, 2} }},
		{"all layers", func(p *spec.SurgeryPlan) { p.LayersToRemove = spec.Indices{1, 0, 2} }},
		{"heads of layer 3 of 3", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Layer = 3 }},
		{"heads of layer −1", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Layer = -1 }},
		{"no heads of layer 3 of 3", func(p *spec.SurgeryPlan) { p.HeadsToPrune = []spec.LayerHeads{{Layer: 3}} }},
		{"heads of a layer twice", func(p *spec.SurgeryPlan) {
			p.HeadsToPrune = append(p.HeadsToPrune, spec.LayerHeads{Layer: 0}, spec.LayerHeads{Layer: 1, Heads: spec.Indices{2, 3}})
		}},
		{"head 4 of 4", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{3, 4} }},
		{"head −1", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{-1, 0} }},
		{"a head twice", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{0, 1, 0} }},
		{"a head twice for the one it shares with", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{1, 1} }},
		{"all heads", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{0, 3, 2, 1} }},
		{"all heads of a layer that goes", func(p *spec.SurgeryPlan) {
			p.LayersToRemove, p.HeadsToPrune[0].Heads = spec.Indices{1}, spec.Indices{0, 1, 2, 3}
		}},
		{"half a group", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{0} }},
		{"halves of two groups", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{1, 2} }},
		{"a group and a half", func(p *spec.SurgeryPlan) { p.HeadsToPrune[0].Heads = spec.Indices{3, 1, 0} }},
	} {
		p := cloneAs(good)
		wrong.spoil(&p)
		bad("a plan with "+wrong.what, call(modelSurgery, "estimate_reduction", p))
		bad("a plan with "+wrong.what, call(modelSurgery, "apply", p, weights, false))
	}

	spoiled := func(x float64) spec.NamedTensor {
		w := tensor("layer_2.mlp", 2, 2)
		w.Tensor.Data[r.IntN(4)] = float32(x)
		return w
	}
	data := make([]float32, 4)
	for _, wrong := range []struct {
		what   string
		tensor spec.NamedTensor
	}{
		{"an empty tensor", tensor("x", 0, 3)},
		{"a tensor of nothing", spec.NamedTensor{Name: "x"}},
		{"less data than shape", spec.NamedTensor{Name: "x", Tensor: spec.Tensor{Shape: []int{5}, Data: data}}},
		{"more data than shape", spec.NamedTensor{Name: "x", Tensor: spec.Tensor{Shape: []int{3}, Data: data}}},
		{"more data than a number", spec.NamedTensor{Name: "x", Tensor: spec.Tensor{Data: data}}},
		{"a negative shape", spec.NamedTensor{Name: "x", Tensor: spec.Tensor{Shape: []int{-2, -2}, Data: data}}},
		{"a shape whose size overflows", spec.NamedTensor{Name: "x", Tensor: spec.Tensor{Shape: []int{math.MaxInt, 4}, Data: data}}},
		{"a NaN", spoiled(math.NaN())},
		{"+Inf", spoiled(math.Inf(1))},
		{"−Inf", spoiled(math.Inf(-1))},
		{"a name twice", weights[2]},
		{"a name of two layers", tensor("layer_0.layer_1.x", 1)},
		{"a name of two layers side by side", tensor("layer_2_layer_0", 1)},
		{"q of a row less", tensor("layer_1.attn.q.weight", 7, 3)},
		{"q of a row more", tensor("layer_1.attn.q.weight", 9, 3)},
		{"q turned round", tensor("layer_1.attn.wq", 3, 8)},
		{"k with the rows of q", tensor("layer_1.attn.k", 8, 3)},
		{"a bias of v with the size of q's", tensor("layer_1.attn.v.bias", 8)},
		{"o with the rows of q", tensor("layer_1.attn.o", 8, 3)},
		{"o with the columns of k", tensor("layer_1.attn.wo.weight", 3, 4)},
		{"q of three axes", tensor("layer_1.attn.wq", 8, 1, 3)},
		{"o of no axes", tensor("layer_1.attn.o")},
		{"a bias of two axes", tensor("layer_1.attn.wq.bias", 8, 1)},
		{"a weight of one axis", tensor("layer_1.attn.o_proj.weight", 8)},
		{"attn itself", tensor("layer_1.attn", 8, 3)},
	} {
		bad(wrong.what, call(modelSurgery, "apply", good, append(slices.Clone(weights), wrong.tensor), false))
	}
	bad("no tensors", call(modelSurgery, "apply", good, []spec.NamedTensor(nil), false))
	return list
}

func surgeryNewPlan(t *trial) {
	m := drawModel(t, 1, 9, 5)
	want := drawLargePlan(t, m)
	want.LayersToRemove, want.HeadsToPrune = nil, nil
	var got spec.SurgeryPlan
	t.must(open(t, t.impl.ModelSurgery, spec.ModelSurgeryConfig{}).Plan(&got, want.NLayers, want.NHeads, want.HeadDim, want.NKVHeads))
	sameSurgeryPlan(t, &got, &want)
}

// exactEstimate is the estimate in rationals.
func exactEstimate(p spec.SurgeryPlan) float64 {
	pruned := int64(0)
	for _, h := range p.HeadsToPrune {
		pruned += int64(len(h.Heads))
	}
	layers, heads := big.NewInt(int64(p.NLayers)), big.NewInt(int64(p.NHeads))
	sum := new(big.Rat).SetFrac(big.NewInt(int64(len(p.LayersToRemove))), layers)
	sum.Add(sum, new(big.Rat).SetFrac(big.NewInt(pruned), heads.Mul(heads, layers)))
	x, _ := sum.Mul(sum, big.NewRat(1, 2)).Float64()
	return x
}

func surgeryEstimate(t *trial) {
	p := drawLargePlan(t, drawModel(t, 1, 9, 5))
	want := exactEstimate(p)
	t.within("reduction", estimated(t, p), want, 0x1p-50*want)
}

func surgeryEmptyPlan(t *trial) {
	m := drawModel(t, 1, 3, 3)
	weights := m.whole()
	for _, name := range []string{"", ".", "layer_0.attn", "layer_0.attn.c_attn.weight", "layer_0.attn.x.y", "layer_0/attn/q/x", "attn", "层_0", "layer_0 "} {
		weights = append(weights, spec.NamedTensor{Name: name, Tensor: spec.Tensor{Shape: []int{1, 1}, Data: []float32{1}}})
	}
	p := m.dims
	if rapid.Bool().Draw(t.T, "lists") {
		p.LayersToRemove, p.HeadsToPrune = spec.Indices{}, []spec.LayerHeads{{Layer: 0, Heads: spec.Indices{}}}
	}
	got := operate(t, p, weights, rapid.Bool().Draw(t.T, "renumber"))
	sameWeights(t, got.NewWeights, weights)
	got.NewWeights = nil
	t.equal("counts and shares ", got, spec.SurgeryResult{})
}

func surgeryLayers(t *trial) {
	m := drawModel(t, 2, 12, 1)
	p := m.dims
	p.LayersToRemove = drawSome(t, p.NLayers, "layers to remove")
	sameWeights(t, operate(t, p, m.whole(), false).NewWeights, m.without(p, false))
}

func surgeryHeads(t *trial) {
	m := drawModel(t, 1, 3, 4)
	p := m.drawPlan(t)
	sameWeights(t, operate(t, p, m.whole(), false).NewWeights, m.without(p, false))
}

func surgeryUntouched(t *trial) {
	m := drawModel(t, 1, 3, 3)
	p := m.dims
	p.HeadsToPrune = m.drawPrunedHeads(t)
	stay := slices.Clone(m.rest)
	for i, l := range m.layers {
		heads := keptHeads(p, i)
		for _, w := range m.layerTensors(l, i, heads) {
			isPart := slices.ContainsFunc([]string{m.names.q, m.names.k, m.names.v, m.names.o}, func(role string) bool {
				return w.Name == m.names.name(i, "attn", role, m.names.weight) || role != m.names.o && w.Name == m.names.name(i, "attn", role, m.names.bias)
			})
			if !isPart || len(heads) == p.NHeads {
				stay = append(stay, w)
			}
		}
	}
	got := map[string]spec.Tensor{}
	for _, w := range operate(t, p, m.whole(), false).NewWeights {
		got[w.Name] = w.Tensor
	}
	for _, want := range stay {
		x, isThere := got[want.Name]
		t.holds(isThere, "%s[%q] is gone", newWeights, want.Name)
		t.equal(fmt.Sprintf("%s[%q]: shape", newWeights, want.Name), x.Shape, want.Tensor.Shape)
		t.sameBits(fmt.Sprintf("%s[%q]", newWeights, want.Name), x.Data, want.Tensor.Data)
	}
}

// surgeryForward attends with the pruned weights, and with the original ones but for
// the outputs of pruned heads, which are 0.
func surgeryForward(t *trial) {
	m := drawModel(t, 1, 2, 3)
	for i := range m.layers {
		m.layers[i] = m.fillLayer(rapid.SampledFrom(moderateStyles).Draw(t.T, "layer style"), source(t, "layer"))
	}
	p := m.dims
	p.HeadsToPrune = m.drawPrunedHeads(t)
	tokens := matrix(t, size(t, 1, 4, "tokens"), m.hidden, moderateStyles, "tokens")
	before := m.whole()
	after := operate(t, p, before, false).NewWeights
	for i := range m.layers {
		heads := keptHeads(p, i)
		want := surgeryAttention{t, m, before, i, upTo(p.NHeads)}.forward(tokens, heads)
		got := surgeryAttention{t, m, after, i, heads}.forward(tokens, heads)
		t.equal(fmt.Sprintf("attention of layer %d", i), got, want)
	}
}

// A surgeryAttention is one layer's attention: weights by name, of a model that has
// these of the original's heads.
type surgeryAttention struct {
	*trial
	model   surgeryModel
	weights []spec.NamedTensor
	layer   int
	heads   []int
}

// forward runs cross-modal-attn's reference between projections. Of the heads that are
// not to be heard the outputs are 0.
func (a surgeryAttention) forward(tokens spec.Matrix, heard []int) []float64 {
	group, dim := a.model.dims.NHeads/a.model.dims.KVHeads(), a.model.dims.HeadDim
	queries := a.project(tokens, a.model.names.q, len(a.heads))
	keys := a.project(tokens, a.model.names.k, len(a.heads)/group)
	values := a.project(tokens, a.model.names.v, len(a.heads)/group)
	config := crossModalConfig(len(a.heads), len(a.heads), dim, 1/math.Sqrt(float64(dim)))
	attn, err := a.ref.CrossModalAttn(config)
	a.must(err)
	var out spec.Heads
	a.must(attn.Forward(&out, queries, repeatedHeads(keys, group), repeatedHeads(values, group)))
	for place, h := range a.heads {
		if !slices.Contains(heard, h) {
			clear(out.Head(place).Data)
		}
	}
	weight := a.tensor(a.model.hidden, len(a.heads)*dim, "attn", a.model.names.o, a.model.names.weight)
	bias := a.bias(a.model.hidden, a.model.names.o)
	var outputs []float64
	for token := range tokens.Rows {
		for i := range a.model.hidden {
			sum := 0.0
			for place := range a.heads {
				for j, x := range out.Head(place).Row(token) {
					sum += float64(float64(weight[i*len(a.heads)*dim+place*dim+j]) * float64(x))
				}
			}
			outputs = append(outputs, sum+float64(bias[i]))
		}
	}
	return outputs
}

// project multiplies every token with a projection, and takes the rows head by head.
func (a surgeryAttention) project(tokens spec.Matrix, role string, heads int) (x spec.Heads) {
	dim := a.model.dims.HeadDim
	weight := a.tensor(heads*dim, tokens.Cols, "attn", role, a.model.names.weight)
	bias := a.bias(heads*dim, role)
	x.Resize(heads, tokens.Rows, dim)
	for h := range heads {
		for token := range tokens.Rows {
			for i := range dim {
				row := h*dim + i
				sum := float64(bias[row])
				for c, input := range tokens.Row(token) {
					sum += float64(float64(weight[row*tokens.Cols+c]) * float64(input))
				}
				x.Head(h).Row(token)[i] = float32(sum)
			}
		}
	}
	return x
}

func (a surgeryAttention) bias(rows int, role string) []float32 {
	if !a.model.names.biased {
		return make([]float32, rows)
	}
	return a.tensor(rows, 1, "attn", role, a.model.names.bias)
}

// tensor returns the data of a tensor of the layer, which must have rows·cols elements.
func (a surgeryAttention) tensor(rows, cols int, components ...string) []float32 {
	name := a.model.names.name(a.layer, components...)
	i := slices.IndexFunc(a.weights, func(w spec.NamedTensor) bool { return w.Name == name })
	if i < 0 || len(a.weights[i].Tensor.Data) != rows*cols {
		a.fail(a.symptom, "%s[%q]: want %d × %d elements, got %q", newWeights, name, rows, cols, weightNames(a.weights))
	}
	return a.weights[i].Tensor.Data
}

// repeatedHeads gives every head to as many in a row.
func repeatedHeads(x spec.Heads, times int) (out spec.Heads) {
	out.Resize(x.Heads*times, x.Tokens, x.Dim)
	for h := range out.Heads {
		copy(out.Head(h).Data, x.Head(h/times).Data)
	}
	return out
}

func surgeryWholeGroups(t *trial) {
	kv, group := size(t, 2, 4, "n_kv_heads"), size(t, 2, 3, "group")
	p := spec.SurgeryPlan{NLayers: 2, NHeads: kv * group, HeadDim: 1, NKVHeads: kv}
	// Part of one group, beside whole ones or parts of others.
	heads := spec.Indices{}
	torn := rapid.IntRange(0, kv-1).Draw(t.T, "torn group")
	for h := range kv * group {
		if rapid.Bool().Draw(t.T, "head") {
			heads = append(heads, h)
		}
	}
	heads = slices.DeleteFunc(heads, func(h int) bool { return h/group == torn })
	heads = append(heads, torn*group+rapid.IntRange(0, group-1).Draw(t.T, "torn head"))
	p.HeadsToPrune = []spec.LayerHeads{{Layer: 1, Heads: heads}}
	s := open(t, t.impl.ModelSurgery, spec.ModelSurgeryConfig{})
	var reduction float64
	var result spec.SurgeryResult
	weights := []spec.NamedTensor{{Name: "x", Tensor: spec.Tensor{Shape: []int{1}, Data: []float32{1}}}}
	what := fmt.Sprintf("pruning heads %v, of which each %d share a KV head,", heads, group)
	t.refused(what, s.EstimateReduction(&reduction, p))
	t.refused(what, s.Apply(&result, p, weights, false))
}

func surgeryUnknownProjection(t *trial) {
	m := drawModel(t, 2, 3, 2)
	m.dims.NHeads, m.dims.NKVHeads = 2, 2
	layer := rapid.IntRange(0, m.dims.NLayers-1).Draw(t.T, "layer")
	components := rapid.SampledFrom([][]string{
		{"c_attn", "weight"}, {"qkv_proj"}, {"rotary_emb", "inv_freq"}, {"self", "q"}, {"Q"}, {"q_proj", "lora_A"}, {"q", "weight", "x"}, {"scale"}, {"bias"}, {"normal"},
	}).Draw(t.T, "component")
	strange := spec.NamedTensor{
		Name:   m.names.name(layer, append([]string{"attn"}, components...)...),
		Tensor: spec.Tensor{Shape: []int{2 * m.dims.HeadDim, 1}, Data: make([]float32, 2*m.dims.HeadDim)},
	}
	weights := append(slices.Clone(m.rest), strange)
	losing, sparing, removing := m.dims, m.dims, m.dims
	losing.HeadsToPrune = []spec.LayerHeads{{Layer: layer, Heads: spec.Indices{1}}}
	sparing.HeadsToPrune = []spec.LayerHeads{{Layer: (layer + 1) % m.dims.NLayers, Heads: spec.Indices{1}}, {Layer: layer}}
	removing.LayersToRemove, removing.HeadsToPrune = spec.Indices{layer}, losing.HeadsToPrune
	var result spec.SurgeryResult
	err := open(t, t.impl.ModelSurgery, spec.ModelSurgeryConfig{}).Apply(&result, losing, weights, false)
	t.refused(fmt.Sprintf("%q of a layer that loses heads", strange.Name), err)
	sameWeights(t, operate(t, sparing, weights, false).NewWeights, weights)
	sameWeights(t, operate(t, removing, weights, false).NewWeights, m.rest)
}

func surgeryCounts(t *trial) {
	m := drawModel(t, 1, 4, 3)
	p := m.drawPlan(t)
	removed, pruned := 0, 0
	for _, i := range p.LayersToRemove {
		removed += len(m.layerTensors(m.layers[i], i, upTo(p.NHeads)))
	}
	for _, h := range p.HeadsToPrune {
		pruned += len(h.Heads)
	}
	got := operate(t, p, m.whole(), false)
	t.equal("layers_removed ", got.TensorsRemoved, removed)
	t.equal("heads_pruned ", got.HeadsPruned, pruned)
	want := exactEstimate(p)
	t.within("estimated_param_reduction", got.EstimatedParamReduction, want, 0x1p-50*want)
}

func surgeryShare(t *trial) {
	m := drawModel(t, 1, 4, 3)
	p, weights := m.drawPlan(t), m.whole()
	got := operate(t, p, weights, false)
	all := elementsOf(weights)
	want, _ := big.NewRat(all-elementsOf(m.without(p, false)), all).Float64()
	t.within("true_param_reduction", got.TrueParamReduction, want, 0x1p-50*want)
}

func surgeryRenumber(t *trial) {
	m := drawModel(t, 1, 12, 2)
	p, weights := m.drawPlan(t), m.whole()
	sameWeights(t, operate(t, p, weights, true).NewWeights, m.without(p, true))
	sameWeights(t, operate(t, p, weights, false).NewWeights, m.without(p, false))
}

func surgeryComposition(t *trial) {
	m := drawModel(t, 2, 6, 1)
	first, then, both := m.dims, m.dims, m.dims
	first.LayersToRemove = drawSome(t, first.NLayers, "first")
	stay := keptLayers(first)
	then.NLayers = len(stay)
	then.LayersToRemove = drawSome(t, then.NLayers, "then")
	both.LayersToRemove = slices.Clone(first.LayersToRemove)
	for _, i := range then.LayersToRemove {
		both.LayersToRemove = append(both.LayersToRemove, stay[i])
	}
	once := operate(t, both, m.whole(), true)
	twice := operate(t, then, operate(t, first, m.whole(), true).NewWeights, true)
	sameWeights(t, twice.NewWeights, once.NewWeights)
}

func surgeryOrder(t *trial) {
	m := drawModel(t, 2, 5, 3)
	p, weights, renumber := m.drawPlan(t), m.whole(), rapid.Bool().Draw(t.T, "renumber")
	q, shuffled := cloneAs(p), slices.Clone(weights)
	r := source(t, "order")
	shuffleAll(r, q.LayersToRemove)
	shuffleAll(r, q.HeadsToPrune)
	for _, h := range q.HeadsToPrune {
		shuffleAll(r, h.Heads)
	}
	shuffleAll(r, shuffled)
	got, want := operate(t, q, shuffled, renumber), operate(t, p, weights, renumber)
	sameWeights(t, got.NewWeights, want.NewWeights)
	got.NewWeights, want.NewWeights = nil, nil
	t.equal("counts and shares ", got, want)
}

func shuffleAll[T any](r *rand.Rand, list []T) {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func surgeryStats(t *trial) {
	s := open(t, t.impl.ModelSurgery, spec.ModelSurgeryConfig{})
	m := drawModel(t, 1, 2, 2)
	var want spec.ModelSurgeryStats
	for range size(t, 0, 6, "calls") {
		switch rapid.IntRange(0, 2).Draw(t.T, "operation") {
		case 0:
			var plan spec.SurgeryPlan
			t.must(s.Plan(&plan, m.dims.NLayers, m.dims.NHeads, m.dims.HeadDim, m.dims.NKVHeads))
			want.Plans++
		case 1:
			var reduction float64
			t.must(s.EstimateReduction(&reduction, m.drawPlan(t)))
		case 2:
			var result spec.SurgeryResult
			t.must(s.Apply(&result, m.drawPlan(t), m.whole(), false))
			want.Applied++
		}
	}
	t.equal("stats", s.Stats(), want)
}

func surgeryPlanRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	s, err := impl.ModelSurgery(spec.DefaultModelSurgeryConfig())
	var plan spec.SurgeryPlan
	layers, heads, dim := w.Int("n_layers", 3), w.Int("n_heads", 8), w.Int("head_dim", 64)
	return timing{
		calls:  1,
		call:   func(int) error { return s.Plan(&plan, layers, heads, dim, 0) },
		result: func() (any, error) { return &plan, nil },
	}, err
}

// surgeryEstimateRow estimates an empty plan where the workload says so, and else one
// without the first layer and the first head of the last.
func surgeryEstimateRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	s, err := impl.ModelSurgery(spec.DefaultModelSurgeryConfig())
	plan := spec.SurgeryPlan{NLayers: w.Int("n_layers", 3), NHeads: w.Int("n_heads", 8), HeadDim: w.Int("head_dim", 64)}
	if w.Text("plan", "") != "empty" {
		plan.LayersToRemove = spec.Indices{0}
		plan.HeadsToPrune = []spec.LayerHeads{{Layer: plan.NLayers - 1, Heads: spec.Indices{0}}}
	}
	var reduction float64
	return timing{
		calls:  1,
		call:   func(int) error { return s.EstimateReduction(&reduction, plan) },
		result: func() (any, error) { return &reduction, nil },
	}, err
}
