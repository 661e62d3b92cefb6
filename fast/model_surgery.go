package fast

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/squishspec/squishspec/spec"
)

// NewModelSurgery returns an optimised spec.ModelSurgery.
//
// A name is read once, from left to right, however many layers a plan has; layers and
// heads are found by binary search; and what stays of a tensor is copied in runs of
// neighbouring heads. Results are written into the memory of earlier ones.
func NewModelSurgery(c spec.ModelSurgeryConfig) (spec.ModelSurgery, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &modelSurgery{config: c, names: map[string]struct{}{}}, nil
}

type modelSurgery struct {
	config spec.ModelSurgeryConfig
	stats  spec.ModelSurgeryStats

	// Scratch memory of Apply.
	removed []int               // layers, ascending
	pruned  []spec.LayerHeads   // by layer, ascending
	heads   []int               // of one layer, ascending
	runs    []headRun           // of one tensor
	names   map[string]struct{} // seen so far
	name    []byte              // a new one
}

// A headRun is neighbouring heads that stay: from … to−1.
type headRun struct{ from, to int }

func (s *modelSurgery) Plan(dst *spec.SurgeryPlan, nLayers, nHeads, headDim, nKVHeads int) error {
	plan := spec.SurgeryPlan{NLayers: nLayers, NHeads: nHeads, HeadDim: headDim, NKVHeads: nKVHeads}
	if err := plan.Validate(); err != nil {
		return err
	}
	plan.NKVHeads = plan.KVHeads()
	plan.LayersToRemove, plan.HeadsToPrune = dst.LayersToRemove[:0], dst.HeadsToPrune[:0]
	*dst = plan
	s.stats.Plans++
	return nil
}

func (s *modelSurgery) EstimateReduction(dst *float64, plan spec.SurgeryPlan) error {
	if err := plan.Validate(); err != nil {
		return err
	}
	*dst = surgeryEstimate(plan)
	return nil
}

// surgeryEstimate multiplies in float64: layers times heads may be beyond an int.
func surgeryEstimate(plan spec.SurgeryPlan) float64 {
	perHead := float64(plan.PrunedHeads()) / float64(plan.NHeads)
	return (float64(len(plan.LayersToRemove)) + perHead) / float64(plan.NLayers) / 2
}

func (s *modelSurgery) Apply(dst *spec.SurgeryResult, plan spec.SurgeryPlan, weights []spec.NamedTensor, renumber bool) error {
	if err := plan.Validate(); err != nil {
		return err
	}
	if err := s.config.CheckWeights(weights); err != nil {
		return err
	}
	s.removed = append(s.removed[:0], plan.LayersToRemove...)
	slices.Sort(s.removed)
	s.pruned = append(s.pruned[:0], plan.HeadsToPrune...)
	slices.SortFunc(s.pruned, func(a, b spec.LayerHeads) int { return cmp.Compare(a.Layer, b.Layer) })
	defer s.forget()

	kept := spec.Resize(dst.NewWeights, len(weights))
	n, before, after := 0, 0, 0
	for i := range weights {
		w := &weights[i]
		if _, again := s.names[w.Name]; again {
			return rejectSurgery(w, "a name that comes once", "it again")
		}
		s.names[w.Name] = struct{}{}
		before += len(w.Tensor.Data)
		layer, err := surgeryLayer(w)
		if err != nil {
			return err
		}
		rank, isRemoved := slices.BinarySearch(s.removed, layer)
		if isRemoved {
			continue
		}
		if err := s.cut(&kept[n].Tensor, w, plan, layer); err != nil {
			return err
		}
		after += len(kept[n].Tensor.Data)
		if renumber && layer >= 0 && layer < plan.NLayers && rank > 0 {
			s.rename(&kept[n].Name, w.Name, layer-rank)
		} else {
			kept[n].Name = w.Name
		}
		n++
	}
	*dst = spec.SurgeryResult{
		NewWeights:              kept[:n],
		TensorsRemoved:          len(weights) - n,
		HeadsPruned:             plan.PrunedHeads(),
		EstimatedParamReduction: surgeryEstimate(plan),
		TrueParamReduction:      float64(before-after) / float64(before),
	}
	s.stats.Applied++
	return nil
}

func (s *modelSurgery) Stats() spec.ModelSurgeryStats { return s.stats }

// forget clears scratch memory of what is the caller's.
func (s *modelSurgery) forget() {
	clear(s.names)
	clear(s.pruned)
}

// nextLayer returns where the next number of a layer stands in a name, from a place
// on.
func nextLayer(name string, from int) (start, end int, found bool) {
	const word = "layer_"
	for {
		i := strings.Index(name[from:], word)
		if i < 0 {
			return 0, 0, false
		}
		before, _ := utf8.DecodeLastRuneInString(name[:from+i])
		from += i + len(word)
		end = from
		for end < len(name) && name[end] >= '0' && name[end] <= '9' {
			end++
		}
		isNumber := end == from+1 || end > from && name[from] != '0'
		if isNumber && !unicode.IsLetter(before) && !unicode.IsDigit(before) && (end == len(name) || endsLayer(name[end])) {
			return from, end, true
		}
	}
}

func endsLayer(c byte) bool { return c == '_' || partsName(c) }

// partsName reports whether c parts a name into components.
func partsName(c byte) bool { return c == '.' || c == '[' || c == ']' || c == '/' }

// noLayer is the layer of a tensor that belongs to none, or to one beyond an int.
const noLayer = -1

func surgeryLayer(w *spec.NamedTensor) (int, error) {
	start, end, found := nextLayer(w.Name, 0)
	if !found {
		return noLayer, nil
	}
	number := w.Name[start:end]
	for {
		start, end, found = nextLayer(w.Name, end)
		if !found {
			break
		}
		if other := w.Name[start:end]; other != number {
			return noLayer, rejectSurgery(w, "a name of one layer", "layers "+number+" and "+other)
		}
	}
	layer, err := strconv.Atoi(number)
	if err != nil {
		return noLayer, nil
	}
	return layer, nil
}

// rename writes a name with another number wherever its layer's stands. A name that is
// there already is not made again.
func (s *modelSurgery) rename(dst *string, name string, number int) {
	s.name = s.name[:0]
	copied := 0
	for {
		start, end, found := nextLayer(name, copied)
		if !found {
			break
		}
		s.name = append(s.name, name[copied:start]...)
		s.name = strconv.AppendInt(s.name, int64(number), 10)
		copied = end
	}
	s.name = append(s.name, name[copied:]...)
	if *dst != string(s.name) {
		*dst = string(s.name)
	}
}

// cut copies what stays of a tensor.
func (s *modelSurgery) cut(dst *spec.Tensor, w *spec.NamedTensor, plan spec.SurgeryPlan, layer int) error {
	i, isPruned := slices.BinarySearchFunc(s.pruned, layer, func(h spec.LayerHeads, layer int) int { return cmp.Compare(h.Layer, layer) })
	part := otherPart
	if isPruned && len(s.pruned[i].Heads) > 0 {
		part = partOf(w.Name, len(w.Tensor.Shape))
	}
	switch part {
	case otherPart:
		dst.Shape = append(dst.Shape[:0], w.Tensor.Shape...)
		dst.Data = append(dst.Data[:0], w.Tensor.Data...)
		return nil
	case unknownPart:
		return rejectSurgery(w, "a norm, or a projection's weight or bias, where heads are pruned", fmt.Sprintf("shape %v", w.Tensor.Shape))
	case outputPart:
		s.keep(s.pruned[i].Heads, 1, plan.NHeads)
		return s.cutColumns(dst, w, plan.NHeads, plan.HeadDim)
	case keyValuePart:
		s.keep(s.pruned[i].Heads, plan.NHeads/plan.KVHeads(), plan.KVHeads())
		return s.cutRows(dst, w, plan.KVHeads(), plan.HeadDim)
	default:
		s.keep(s.pruned[i].Heads, 1, plan.NHeads)
		return s.cutRows(dst, w, plan.NHeads, plan.HeadDim)
	}
}

// keep finds the runs of heads that stay of n, each shared by a group of those that
// the heads to go are counted in.
func (s *modelSurgery) keep(gone spec.Indices, group, n int) {
	s.heads = append(s.heads[:0], gone...)
	slices.Sort(s.heads)
	s.runs = s.runs[:0]
	from := 0
	for i := 0; i < len(s.heads); i += group {
		head := s.heads[i] / group
		if head > from {
			s.runs = append(s.runs, headRun{from, head})
		}
		from = head + 1
	}
	if from < n {
		s.runs = append(s.runs, headRun{from, n})
	}
}

// kept is the number of heads that stay.
func (s *modelSurgery) kept() (n int) {
	for _, run := range s.runs {
		n += run.to - run.from
	}
	return n
}

// cutRows copies the rows of the heads that stay, or a bias's elements.
func (s *modelSurgery) cutRows(dst *spec.Tensor, w *spec.NamedTensor, heads, headDim int) error {
	x := w.Tensor
	if x.Shape[0] != heads*headDim {
		return rejectSurgery(w, fmt.Sprintf("%d rows, of %d heads", heads*headDim, heads), x.Shape[0])
	}
	perHead := len(x.Data) / heads
	dst.Shape = append(dst.Shape[:0], x.Shape...)
	dst.Shape[0] = s.kept() * headDim
	dst.Data = spec.Resize(dst.Data, s.kept()*perHead)
	at := 0
	for _, run := range s.runs {
		at += copy(dst.Data[at:], x.Data[run.from*perHead:run.to*perHead])
	}
	return nil
}

// cutColumns copies the columns of the heads that stay.
func (s *modelSurgery) cutColumns(dst *spec.Tensor, w *spec.NamedTensor, heads, headDim int) error {
	rows, cols := w.Tensor.Shape[0], w.Tensor.Shape[1]
	if cols != heads*headDim {
		return rejectSurgery(w, fmt.Sprintf("%d columns, of %d heads", heads*headDim, heads), cols)
	}
	dst.Shape = append(dst.Shape[:0], rows, s.kept()*headDim)
	dst.Data = spec.Resize(dst.Data, rows*s.kept()*headDim)
	at := 0
	for r := range rows {
		row := w.Tensor.Data[r*cols : (r+1)*cols]
		for _, run := range s.runs {
			at += copy(dst.Data[at:], row[run.from*headDim:run.to*headDim])
		}
	}
	return nil
}

// A surgeryPart is what a tensor is to the heads of its layer.
type surgeryPart int

const (
	otherPart   surgeryPart = iota // stays as it is
	unknownPart                    // of attn, and not understood
	queryPart                      // rows of heads
	keyValuePart
	outputPart // columns of heads
)

// partOf reads a name's components: what stands behind "attn" decides.
func partOf(name string, axes int) surgeryPart {
	rest := name
	for {
		component, behind, found := nextComponent(rest)
		if !found {
			return otherPart
		}
		rest = behind
		if component == "attn" {
			break
		}
	}
	role, rest, _ := nextComponent(rest)
	kind, rest, hasKind := nextComponent(rest)
	if isNorm(role) || isNorm(kind) {
		return otherPart
	}
	fits := !hasKind && (axes == 1 || axes == 2) || kind == "weight" && axes == 2 || kind == "bias" && axes == 1
	for more, behind, found := nextComponent(rest); found; more, behind, found = nextComponent(behind) {
		if isNorm(more) {
			return otherPart
		}
		fits = false
	}
	switch {
	case !fits:
		return unknownPart
	case role == "q" || role == "q_proj" || role == "wq":
		return queryPart
	case role == "k" || role == "v" || role == "k_proj" || role == "v_proj" || role == "wk" || role == "wv":
		return keyValuePart
	case role != "o" && role != "o_proj" && role != "out_proj" && role != "c_proj" && role != "wo":
		return unknownPart
	case axes == 1:
		return otherPart // the output bias
	}
	return outputPart
}

func isNorm(component string) bool { return strings.HasSuffix(component, "norm") || component == "ln" }

// nextComponent returns the first component of a name, and what is behind it.
func nextComponent(name string) (component, rest string, found bool) {
	start := 0
	for start < len(name) && partsName(name[start]) {
		start++
	}
	end := start
	for end < len(name) && !partsName(name[end]) {
		end++
	}
	return name[start:end], name[end:], end > start
}

func rejectSurgery(w *spec.NamedTensor, want string, got any) error {
	return spec.Reject(spec.Invalid, "model-surgery", w.Path(), want, got)
}
