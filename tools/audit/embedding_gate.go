package audit

import (
	"context"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// gatePatch is the side of a patch, in pixels: a patch has as many as a token of the
// models here has elements.
const gatePatch = 8

// The embeddings of a half are in so many groups, each of patches that lie together in
// one picture, so many across and down, and of tokens that are drawn.
const (
	gateGroups             = 64
	groupAcross, groupDown = 4, 2
)

// A gateHalf is embeddings of images and of texts, a row each, and the groups that rows are
// in.
type gateHalf struct {
	images, texts         spec.Matrix
	imageGroup, textGroup []int
}

// tokenHalves are the rows of a model's embedding of the different tokens of a text, in
// two halves that share no token.
func tokenHalves(s *Subject, paragraphs []string, r *rand.Rand) (halves [2]gateHalf) {
	var tokens []int
	for _, p := range paragraphs {
		tokens = append(tokens, llama.Continue(s.Tokenizer, p)...)
	}
	slices.Sort(tokens)
	tokens = slices.Compact(tokens)
	r.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	embedding := s.Model.Embedding.Float32()
	for i, t := range tokens {
		h := &halves[i%2]
		h.textGroup = append(h.textGroup, i/2%gateGroups)
		h.texts.Data = append(h.texts.Data, embedding.Row(t)...)
		h.texts.Rows, h.texts.Cols = h.texts.Rows+1, embedding.Cols
	}
	return halves
}

// addPatches adds groups of patches at places that are drawn, of one picture after
// the other: grey values as shares of white.
func (m *gateHalf) addPatches(pictures []*image.Gray, r *rand.Rand) {
	m.images.Cols = gatePatch * gatePatch
	for g := range gateGroups {
		p := pictures[g%len(pictures)]
		left, top := r.IntN(p.Rect.Dx()-groupAcross*gatePatch+1), r.IntN(p.Rect.Dy()-groupDown*gatePatch+1)
		for n := range groupAcross * groupDown {
			for i := range gatePatch * gatePatch {
				x, y := left+n%groupAcross*gatePatch+i%gatePatch, top+n/groupAcross*gatePatch+i/gatePatch
				m.images.Data = append(m.images.Data, float32(p.Pix[y*p.Stride+x])/255)
			}
			m.images.Rows++
			m.imageGroup = append(m.imageGroup, g)
		}
	}
}

// columnMeans is the mean row.
func columnMeans(x spec.Matrix) []float64 {
	means := make([]float64, x.Cols)
	for t := range x.Rows {
		for i, v := range x.Row(t) {
			means[i] += float64(v) / float64(x.Rows)
		}
	}
	return means
}

// separator is mean(image) − mean(text).
func (m *gateHalf) separator() []float32 {
	w, texts := make([]float32, m.images.Cols), columnMeans(m.texts)
	for i, v := range columnMeans(m.images) {
		w[i] = float32(v - texts[i])
	}
	return w
}

// rotation is an orthogonal matrix that is drawn: Gaussian rows, each made orthogonal to
// those before.
func rotation(dim int, seed uint64) [][]float64 {
	g := gaussian(dim, dim, seed)
	rows := make([][]float64, dim)
	for r := range rows {
		row := make([]float64, dim)
		for i, v := range g.Row(r) {
			row[i] = float64(v)
		}
		for _, before := range rows[:r] {
			along := 0.0
			for i, v := range before {
				along += float64(v * row[i])
			}
			for i, v := range before {
				row[i] -= float64(along * v)
			}
		}
		length := 0.0
		for _, v := range row {
			length += float64(v * v)
		}
		for i := range row {
			row[i] /= math.Sqrt(length)
		}
		rows[r] = row
	}
	return rows
}

// rotated is each row of x in other axes.
func rotated(x spec.Matrix, axes [][]float64) (y spec.Matrix) {
	y.Resize(x.Rows, x.Cols)
	for t := range x.Rows {
		for i, axis := range axes {
			sum := 0.0
			for k, v := range x.Row(t) {
				sum += float64(axis[k] * float64(v))
			}
			y.Row(t)[i] = float32(sum)
		}
	}
	return y
}

// A gateRoute routes embeddings at a threshold. The routes are good until the next call.
type gateRoute func(threshold float64, x spec.Matrix) ([]int32, error)

// gateOf is the module with some weights, its own where they are nil.
func gateOf(impl spec.Implementation, variant spec.Variant, dim int, weights []float32) (gateRoute, error) {
	c := spec.DefaultEmbeddingGateConfig()
	c.Variant, c.EmbedDim = variant, dim
	gate, err := impl.EmbeddingGate(c)
	if err != nil {
		return nil, err
	}
	if weights != nil {
		set, ok := gate.(spec.EmbeddingGateWeights)
		if !ok {
			return nil, fmt.Errorf("set_weights: %w", spec.Unsupported)
		}
		if err := set.SetWeights(weights); err != nil {
			return nil, err
		}
	}
	var out spec.GatedEmbeddings
	return func(threshold float64, x spec.Matrix) ([]int32, error) {
		if err := gate.UpdateThreshold(threshold); err != nil {
			return nil, err
		}
		if err := gate.Gate(&out, x); err != nil {
			return nil, err
		}
		if len(out.Route) != x.Rows || slices.Min(out.Route) < 0 || slices.Max(out.Route) > 1 {
			return nil, fmt.Errorf("%d embeddings have routes %v: the audit cannot be trusted", x.Rows, out.Route)
		}
		return out.Route, nil
	}, nil
}

// gateThresholds ascend: of cosines evenly, of dot products by one ratio.
func gateThresholds(dots bool) (list []float64) {
	const steps = 256
	for i := 1; i <= steps; i++ {
		t := float64(i) / steps
		if dots {
			t = math.Pow(10, 8*t-5)
		}
		list = append(list, t)
	}
	return list
}

// shares are the percentages that are routed to vision of images and of texts.
func (g gateRoute) shares(threshold float64, m *gateHalf) (images, texts float64, err error) {
	images, err = g.share(threshold, m.images)
	if err != nil {
		return 0, 0, err
	}
	texts, err = g.share(threshold, m.texts)
	return images, texts, err
}

func (g gateRoute) share(threshold float64, x spec.Matrix) (float64, error) {
	route, err := g(threshold, x)
	n := 0
	for _, r := range route {
		n += int(r)
	}
	return 100 * float64(n) / float64(x.Rows), err
}

// passed counts at how many of some thresholds a row is routed to vision: it ranks rows
// as their scores do, up to a step.
func (g gateRoute) passed(thresholds []float64, x spec.Matrix) ([]int, error) {
	n := make([]int, x.Rows)
	for _, t := range thresholds {
		route, err := g(t, x)
		if err != nil {
			return nil, err
		}
		for i, r := range route {
			n[i] += int(r)
		}
	}
	return n, nil
}

// area is that under the curve of true over false positives.
func (g gateRoute) area(m *gateHalf, thresholds []float64, seed uint64) (float64, Interval, error) {
	images, err := g.passed(thresholds, m.images)
	if err != nil {
		return 0, Interval{}, err
	}
	texts, err := g.passed(thresholds, m.texts)
	if err != nil {
		return 0, Interval{}, err
	}
	area, interval := m.ranked(images, texts, seed)
	return area, interval, nil
}

// ranked is the probability that an image ranks above a text, of equals half, with its
// interval over groups.
func (m *gateHalf) ranked(images, texts []int, seed uint64) (float64, Interval) {
	var wins, pairs [gateGroups][gateGroups]float64
	for i, v := range images {
		for k, u := range texts {
			g, h := m.imageGroup[i], m.textGroup[k]
			pairs[g][h]++
			switch {
			case v > u:
				wins[g][h]++
			case v == u:
				wins[g][h] += 0.5
			}
		}
	}
	area := func(times []int) float64 {
		won, all := 0.0, 0.0
		for g := range wins {
			if times[g] == 0 {
				continue
			}
			for h := range wins[g] {
				k := float64(times[g] * times[h])
				won += float64(k * wins[g][h])
				all += float64(k * pairs[g][h])
			}
		}
		if all == 0 {
			return 0.5
		}
		return won / all
	}
	return area(slices.Repeat([]int{1}, gateGroups)), bootstrap(gateGroups, seed, "groups of patches and tokens", area)
}

// gatePictures are photographs, or pictures drawn in their place, and their names.
func (a *Audit) gatePictures(r *rand.Rand) (pictures []*image.Gray, names []string, err error) {
	if a.Data == "" {
		for range 16 {
			pictures = append(pictures, drawnScene(r, 128, 96))
		}
		return pictures, nil, nil
	}
	if pictures, names, err = readImages(a.Data, dataImages); err != nil {
		return nil, nil, err
	}
	for i, p := range pictures {
		if p.Rect.Dx() < groupAcross*gatePatch || p.Rect.Dy() < groupDown*gatePatch {
			return nil, nil, reject(names[i], fmt.Sprintf("at least %d×%d pixels", groupAcross*gatePatch, groupDown*gatePatch), fmt.Sprintf("%d×%d", p.Rect.Dx(), p.Rect.Dy()))
		}
	}
	return pictures, names, nil
}

// gateRouting trains gate weights on one half of pictures and tokens, and judges them
// and the module's own by the other: how images and texts are told apart at every
// threshold. Patches are as they are, in other axes, as an encoder's embeddings are, or
// less their mean grey. Weights separate where the area's interval is above 0.9; the
// question is answered by other axes, for along the own ones of patches lies their
// brightness, which weights that are all alike measure untrained.
func gateRouting(ctx context.Context, a *Audit, f *Finding) error {
	const separates = 0.9
	dim := a.Subject.Model.Config.Dim
	if dim != gatePatch*gatePatch {
		f.Verdict, f.Note = Unmeasured, fmt.Sprintf("the model's tokens have %d elements, and patches %d pixels", dim, gatePatch*gatePatch)
		return nil
	}
	r := rand.New(rand.NewPCG(a.Seed, 0x6a7e))
	pictures, names, err := a.gatePictures(r)
	if err != nil {
		return err
	}
	if len(pictures) < 2 {
		f.Verdict, f.Note = Unmeasured, "the data folder has not two of the photographs, one to train with and one to judge by"
		return nil
	}
	f.Evidence = names
	halves := tokenHalves(a.Subject, a.Subject.Evaluation, r)
	if halves[0].texts.Rows == 0 || halves[1].texts.Rows == 0 {
		f.Verdict, f.Note = Unmeasured, "the text has not two different tokens, one to train with and one to judge by"
		return nil
	}
	for i := range halves {
		var half []*image.Gray
		for k := i; k < len(pictures); k += 2 {
			half = append(half, pictures[k])
		}
		halves[i].addPatches(half, r)
	}
	axes, grey := rotation(dim, a.Seed), mean(halves[0].images.Data)
	kinds := []struct {
		name   string
		change func(spec.Matrix) spec.Matrix
	}{
		{"as they are", func(x spec.Matrix) spec.Matrix { return x }},
		{"in other axes", func(x spec.Matrix) spec.Matrix { return rotated(x, axes) }},
		{"less their mean grey", func(x spec.Matrix) spec.Matrix { return darker(x, grey) }},
	}
	f.Curve = &Curve{Columns: []string{"patches: 0 as they are, 1 in other axes, 2 less mean grey", "weights: 0 default, 1 trained", "squish6", "threshold", "images to vision %", "texts to vision %", "area under ROC"}}
	everywhere := true
	var notes []string
	for kind, k := range kinds {
		train, test := halves[0], halves[1]
		train.images, test.images = k.change(train.images), k.change(test.images)
		note := "patches " + k.name
		for variant, thresholds := range [][]float64{{0.1, 0.25, 0.5, 0.9}, {0.05, 0.2, 0.5, 2}} {
			for trained, weights := range [][]float32{nil, train.separator()} {
				if err := ctx.Err(); err != nil {
					return err
				}
				gate, err := gateOf(a.Implementation, []spec.Variant{spec.Documented, spec.Squish6}[variant], dim, weights)
				if spec.KindOf(err) == spec.Unsupported {
					if variant == 0 {
						f.Verdict, f.Note, f.Curve, f.Evidence = Unmeasured, "the implementation offers no set_weights, and so no weights can be trained", nil, nil
						return nil
					}
					continue
				}
				if err != nil {
					return err
				}
				area, interval, err := gate.area(&test, gateThresholds(variant == 1), a.Seed)
				if err != nil {
					return err
				}
				var atDefault string
				for _, t := range thresholds {
					images, texts, err := gate.shares(t, &test)
					if err != nil {
						return err
					}
					f.Curve.add(float64(kind), float64(trained), float64(variant), t, images, texts, area)
					if t == spec.DefaultEmbeddingGateConfig().Threshold {
						atDefault = fmt.Sprintf("at %v %.0f%% of images and %.0f%% of texts to vision", t, images, texts)
					}
				}
				if variant == 1 {
					continue
				}
				everywhere = everywhere && interval.Low > separates
				note += fmt.Sprintf(", %s weights %.3f (%s), %s", []string{"default", "trained"}[trained], area, interval.Text("%.3f"), atDefault)
				if kind == 1 && trained == 1 {
					f.Figure, f.Unit, f.Interval = &area, "area under ROC of trained weights, patches in other axes", &interval
				}
			}
		}
		notes = append(notes, note)
	}
	switch {
	case everywhere:
		f.Verdict = Supported
	case f.Interval.Low > separates:
		f.Verdict = Conditional
	default:
		f.Verdict = Refuted
	}
	f.Note = fmt.Sprintf("patches of %d×%d grey pixels of %d pictures against rows of the model's embedding of %d different tokens; half of each trains, mean(image) − mean(text), and %d patches and %d tokens judge. Area under ROC by |cos|: %s. "+
		"The default weights, all alike, measure how bright a patch is: they know nothing of embeddings, and tell pixels from anything. The trained ones are as good as the two means are far apart, and images less their mean have none. Separated is an interval above %v",
		gatePatch, gatePatch, len(pictures), halves[0].texts.Rows+halves[1].texts.Rows, halves[1].images.Rows, halves[1].texts.Rows, strings.Join(notes, "; "), separates)
	return nil
}

// darker is x less a grey.
func darker(x spec.Matrix, grey float64) spec.Matrix {
	x.Data = slices.Clone(x.Data)
	for i, v := range x.Data {
		x.Data[i] = float32(float64(v) - grey)
	}
	return x
}
