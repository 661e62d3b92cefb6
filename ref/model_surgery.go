package ref

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/squishspec/squishspec/spec"
)

// NewModelSurgery returns the reference of spec.ModelSurgery.
func NewModelSurgery(c spec.ModelSurgeryConfig) (spec.ModelSurgery, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &modelSurgery{config: c}, nil
}

type modelSurgery struct {
	config spec.ModelSurgeryConfig
	stats  spec.ModelSurgeryStats
}

func (s *modelSurgery) Plan(dst *spec.SurgeryPlan, nLayers, nHeads, headDim, nKVHeads int) error {
	plan := spec.SurgeryPlan{NLayers: nLayers, NHeads: nHeads, HeadDim: headDim, NKVHeads: nKVHeads}
	if err := plan.Validate(); err != nil {
		return err
	}
	plan.NKVHeads = plan.KVHeads()
	*dst = plan
	s.stats.Plans++
	return nil
}

func (s *modelSurgery) EstimateReduction(dst *float64, plan spec.SurgeryPlan) error {
	if err := plan.Validate(); err != nil {
		return err
	}
	*dst = estimatedReduction(plan)
	return nil
}

// estimatedReduction multiplies in float64: layers times heads may be beyond an int.
func estimatedReduction(plan spec.SurgeryPlan) float64 {
	layers, heads := float64(plan.NLayers), float64(plan.NHeads)
	removed, pruned := float64(len(plan.LayersToRemove)), float64(plan.PrunedHeads())
	return 0.5*removed/layers + 0.5*pruned/float64(layers*heads)
}

func (s *modelSurgery) Apply(dst *spec.SurgeryResult, plan spec.SurgeryPlan, weights []spec.NamedTensor, renumber bool) error {
	if err := plan.Validate(); err != nil {
		return err
	}
	if err := s.config.CheckWeights(weights); err != nil {
		return err
	}
	result := spec.SurgeryResult{
		NewWeights: spec.Resize(dst.NewWeights, len(weights)), HeadsPruned: plan.PrunedHeads(), EstimatedParamReduction: estimatedReduction(plan),
	}
	n, before, after := 0, 0, 0
	seen := map[string]bool{}
	for _, w := range weights {
		if seen[w.Name] {
			return rejectSurgery(w, "a name that comes once", "it again")
		}
		seen[w.Name] = true
		before += len(w.Tensor.Data)
		layer, hasLayer, err := layerOf(w)
		if err != nil {
			return err
		}
		if hasLayer && slices.Contains(plan.LayersToRemove, layer) {
			result.TensorsRemoved++
			continue
		}
		kept := w.Tensor
		if hasLayer {
			if kept, err = withoutHeads(w, plan, headsPruned(plan, layer)); err != nil {
				return err
			}
		}
		name := w.Name
		if hasLayer && renumber {
			name = renumbered(name, plan, layer)
		}
		out := &result.NewWeights[n]
		out.Name = name
		out.Tensor.Shape = append(out.Tensor.Shape[:0], kept.Shape...)
		out.Tensor.Data = append(out.Tensor.Data[:0], kept.Data...)
		after += len(kept.Data)
		n++
	}
	result.NewWeights = result.NewWeights[:n]
	result.TrueParamReduction = float64(before-after) / float64(before)
	*dst = result
	s.stats.Applied++
	return nil
}

func (s *modelSurgery) Stats() spec.ModelSurgeryStats { return s.stats }

func headsPruned(plan spec.SurgeryPlan, layer int) spec.Indices {
	for _, h := range plan.HeadsToPrune {
		if h.Layer == layer {
			return h.Heads
		}
	}
	return nil
}

var layerPattern = regexp.MustCompile(`layer_(0|[1-9][0-9]*)`)

// layerNumbers returns where the numbers of layers stand in a name.
func layerNumbers(name string) (places [][2]int) {
	for _, match := range layerPattern.FindAllStringSubmatchIndex(name, -1) {
		before, _ := utf8.DecodeLastRuneInString(name[:match[0]])
		if unicode.IsLetter(before) || unicode.IsDigit(before) {
			continue
		}
		if rest := name[match[1]:]; rest == "" || strings.ContainsAny(rest[:1], "._[]/") {
			places = append(places, [2]int{match[2], match[3]})
		}
	}
	return places
}

// layerOf returns the layer that a tensor belongs to. A number beyond an int is of no
// plan's layer.
func layerOf(w spec.NamedTensor) (layer int, hasLayer bool, err error) {
	places := layerNumbers(w.Name)
	if len(places) == 0 {
		return 0, false, nil
	}
	number := w.Name[places[0][0]:places[0][1]]
	for _, place := range places {
		if other := w.Name[place[0]:place[1]]; other != number {
			return 0, false, rejectSurgery(w, "a name of one layer", "layers "+number+" and "+other)
		}
	}
	layer, tooLarge := strconv.Atoi(number)
	return layer, tooLarge == nil, nil
}

// renumbered puts the number that a layer has among those that stay for its old one. A
// layer that the plan does not know keeps its number.
func renumbered(name string, plan spec.SurgeryPlan, layer int) string {
	if layer >= plan.NLayers {
		return name
	}
	number := layer
	for _, removed := range plan.LayersToRemove {
		if removed < layer {
			number--
		}
	}
	places := layerNumbers(name)
	for _, place := range slices.Backward(places) {
		name = name[:place[0]] + strconv.Itoa(number) + name[place[1]:]
	}
	return name
}

// withoutHeads returns a tensor of a layer without the heads that the layer loses.
func withoutHeads(w spec.NamedTensor, plan spec.SurgeryPlan, heads spec.Indices) (spec.Tensor, error) {
	x := w.Tensor
	if len(heads) == 0 {
		return x, nil
	}
	components := strings.FieldsFunc(w.Name, func(r rune) bool { return strings.ContainsRune(".[]/", r) })
	attn := slices.Index(components, "attn")
	if attn < 0 {
		return x, nil
	}
	part := components[attn+1:]
	if slices.ContainsFunc(part, func(c string) bool { return strings.HasSuffix(c, "norm") || c == "ln" }) {
		return x, nil
	}
	group := plan.NHeads / plan.KVHeads()
	kvHeads := spec.Indices{}
	for _, h := range heads {
		if h%group == 0 {
			kvHeads = append(kvHeads, h/group)
		}
	}
	switch axes := len(x.Shape); {
	case !isProjection(part, axes):
	case slices.Contains([]string{"q", "q_proj", "wq"}, part[0]):
		return withoutRows(w, heads, plan.NHeads, plan.HeadDim)
	case slices.Contains([]string{"k", "v", "k_proj", "v_proj", "wk", "wv"}, part[0]):
		return withoutRows(w, kvHeads, plan.KVHeads(), plan.HeadDim)
	case slices.Contains([]string{"o", "o_proj", "out_proj", "c_proj", "wo"}, part[0]):
		if axes == 1 {
			return x, nil // its bias
		}
		return withoutColumns(w, heads, plan.NHeads, plan.HeadDim)
	}
	return x, rejectSurgery(w, "a norm, or a projection's weight or bias, where heads are pruned", fmt.Sprintf("shape %v", x.Shape))
}

// isProjection reports whether the components behind attn, and a number of axes, are
// those of a weight or a bias.
func isProjection(part []string, axes int) bool {
	switch {
	case len(part) == 1:
		return axes == 1 || axes == 2
	case len(part) == 2:
		return part[1] == "weight" && axes == 2 || part[1] == "bias" && axes == 1
	}
	return false
}

// withoutRows returns a weight without the rows of some heads, or a bias without their
// elements.
func withoutRows(w spec.NamedTensor, heads spec.Indices, nHeads, headDim int) (spec.Tensor, error) {
	rows, cols := w.Tensor.Shape[0], len(w.Tensor.Data)/w.Tensor.Shape[0]
	if rows != nHeads*headDim {
		return spec.Tensor{}, rejectSurgery(w, fmt.Sprintf("%d rows, of %d heads", nHeads*headDim, nHeads), rows)
	}
	out := spec.Tensor{Shape: slices.Clone(w.Tensor.Shape)}
	out.Shape[0] -= len(heads) * headDim
	for r := range rows {
		if !slices.Contains(heads, r/headDim) {
			out.Data = append(out.Data, w.Tensor.Data[r*cols:(r+1)*cols]...)
		}
	}
	return out, nil
}

// withoutColumns returns a weight without the columns of some heads.
func withoutColumns(w spec.NamedTensor, heads spec.Indices, nHeads, headDim int) (spec.Tensor, error) {
	rows, cols := w.Tensor.Shape[0], w.Tensor.Shape[1]
	if cols != nHeads*headDim {
		return spec.Tensor{}, rejectSurgery(w, fmt.Sprintf("%d columns, of %d heads", nHeads*headDim, nHeads), cols)
	}
	out := spec.Tensor{Shape: []int{rows, cols - len(heads)*headDim}}
	for i, x := range w.Tensor.Data {
		if !slices.Contains(heads, i%cols/headDim) {
			out.Data = append(out.Data, x)
		}
	}
	return out, nil
}

func rejectSurgery(w spec.NamedTensor, want string, got any) error {
	return spec.Reject(spec.Invalid, "model-surgery", w.Path(), want, got)
}
