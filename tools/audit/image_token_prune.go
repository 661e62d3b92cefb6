package audit

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
	tinyshapes "github.com/squishspec/squishspec/vision/shapes"
)

const (
	// tolerablePoints is what pruning may cost of accuracy before it is said to cost it.
	tolerablePoints = 2.0
	// converged is the accuracy below which a model says nothing of what pruning costs.
	converged = 0.9
)

// prunedShares are those of the patches that go, and claimedShares what the page says.
var (
	prunedShares  = []float64{0.3, 0.5, 0.6, 0.7, 0.8, 0.9}
	claimedShares = []float64{0.5, 0.7}
)

// prunedAfter are the layers behind whose attention patches go, and judgedLayer is the
// one that the verdict is of: the second, as FastV has it.
var prunedAfter = []int{1, 2}

const judgedLayer = 2

// imageTokens drops patches of pictures inside a vision transformer, and counts the
// pictures that it still knows.
func imageTokens(ctx context.Context, a *Audit, f *Finding) error {
	if a.Data == "" {
		model, pictures, err := a.drawnShapes()
		if err != nil {
			return err
		}
		return a.pruneImages(ctx, f, model, pictures, "drawn shapes", photographs{})
	}
	digits, err := readDigits(a.Data)
	if err != nil {
		return err
	}
	photos, err := a.photographs()
	if err != nil {
		return err
	}
	learnt := len(digits) * 4 / 5
	if n := len(digits) - learnt; n < fewItems {
		f.Verdict, f.Note = Unmeasured, fmt.Sprintf("%d digits to judge by; %d at least would say something", n, fewItems)
		return nil
	}
	model, err := learnDigits(ctx, digits[:learnt], a.Seed)
	if err != nil {
		return err
	}
	f.Evidence = append(f.Evidence, dataDigits, dataDigitLabels)
	return a.pruneImages(ctx, f, model, digits[learnt:], fmt.Sprintf("digits, by a model that has learnt %d others", learnt), photos)
}

// drawnShapes are the embedded model and what it is judged on.
func (a *Audit) drawnShapes() (*vision.Model, []vision.Labelled, error) {
	const pictures = 1000
	model, err := tinyshapes.Model()
	return model, tinyshapes.Draw(a.Seed%(1<<32), pictures), err
}

// pruneImages judges a model on pictures, and shows what it keeps of photographs.
func (a *Audit) pruneImages(ctx context.Context, f *Finding, model *vision.Model, pictures []vision.Labelled, source string, photos photographs) error {
	choosers, err := a.choosers(model.Config.Heads)
	if err != nil {
		return err
	}
	whole, pruned, err := prunings(ctx, model, pictures, choosers)
	if err != nil {
		return err
	}
	right := count(whole)
	c := model.Config
	f.Note = fmt.Sprintf("%d %s; whole, %.1f%% of them are known (%s).", len(pictures), source, 100*float64(right)/float64(len(pictures)), percentages(wilson(right, len(pictures))))
	if float64(right) < converged*float64(len(pictures)) {
		f.Verdict = Unmeasured
		f.Note += fmt.Sprintf(" A model that knows fewer than %.0f%% hides what pruning costs", 100*converged)
		return nil
	}

	patches := c.Grid * c.Grid
	f.Curve = &Curve{Columns: []string{"after layer", "removed %", "patches kept"}}
	for _, ch := range choosers {
		f.Curve.Columns = append(f.Curve.Columns, ch.name+" %")
	}
	f.Curve.Columns = append(f.Curve.Columns, "documented loses, points", "from", "to", "more than random, points", "from", "to")
	var cheap, better [2]bool // by claimed share
	var losses [2]string
	at := 0
	for _, after := range prunedAfter {
		row := []float64{float64(after), 0, float64(patches)}
		for range choosers {
			row = append(row, 100*float64(right)/float64(len(pictures)))
		}
		f.Curve.add(append(row, 0, 0, 0, 0, 0, 0)...)
		for _, share := range prunedShares {
			row := []float64{float64(after), 100 * share, float64(documentedPrune(patches, c.Heads, share).KeepCount())}
			var documented, random []bool
			for _, ch := range choosers {
				known := pruned[at]
				at++
				row = append(row, 100*float64(count(known))/float64(len(pictures)))
				switch ch.name {
				case "documented":
					documented = known
				case "random":
					random = known
				}
			}
			loss, cost := a.pointsMore(whole, documented)
			gain, gained := a.pointsMore(documented, random)
			f.Curve.add(append(row, loss, cost.Low, cost.High, gain, gained.Low, gained.High)...)
			if i := slices.Index(claimedShares, share); i >= 0 && after == judgedLayer {
				cheap[i], better[i] = cost.High <= tolerablePoints, gained.Low > 0
				tolerable := "too much"
				if cheap[i] {
					tolerable = "tolerable"
				}
				losses[i] = fmt.Sprintf("at %.0f%% %.2f points (%s), which is %s, and %+.2f (%s) against random choice", 100*share, loss, cost.Text("%.2f"), tolerable, gain, gained.Text("%+.2f"))
				if i == 0 {
					f.Figure, f.Unit, f.Interval = &loss, "points of accuracy lost with 50% of the patches", &cost
				}
			}
		}
	}
	f.Note += fmt.Sprintf(" The share removed is what the module is told, and no result; what it costs of accuracy is %s. Patches go behind layer %d of %d, by its attention, and the class is read from those that are left: half of %d patches are %.0f%% fewer multiply-adds of the whole, 70%% are %.0f%%. The claim holds where both shares cost at most %.0f points within the interval, and random choice, a draw for each picture, costs more. Contrast keeps the patches whose pixels vary most, and sees no attention.",
		strings.Join(losses[:], "; "), judgedLayer, c.Layers, patches, 100*savedMulAdds(c, 0.5), 100*savedMulAdds(c, 0.7), tolerablePoints)
	shown, err := a.showPruned(f, model, pictures, photos, choosers)
	if err != nil {
		return err
	}
	f.Verdict, f.Note = pruningVerdict(cheap, better), f.Note+shown
	return nil
}

// pruningVerdict says what follows of each claimed share: whether it is cheap, and
// better than random choice.
func pruningVerdict(cheap, better [2]bool) Verdict {
	switch {
	case cheap == [2]bool{true, true} && better == [2]bool{true, true}:
		return Supported
	case cheap[0] || cheap[1]:
		return Conditional
	}
	return Refuted
}

// pointsMore returns by how many points the share of pictures that are known exceeds
// another's, of the same pictures.
func (a *Audit) pointsMore(known, other []bool) (float64, Interval) {
	return average(100, more(known, other), a.Seed, "pictures")
}

func percentages(i Interval) string {
	return Interval{Low: 100 * i.Low, High: 100 * i.High}.Text("%.1f")
}

// savedMulAdds is the share of a model's multiply-adds that go with a share of its
// patches behind the pruned layer: a layer has 4·dim² + 2·dim·hidden a token, and
// 2·dim a pair of tokens. What chooses the patches has none.
func savedMulAdds(c vision.Config, share float64) float64 {
	layer := func(n int) float64 {
		return float64(n * (4*c.Dim*c.Dim + 2*c.Dim*c.Hidden + 2*c.Dim*n))
	}
	n := c.Grid * c.Grid
	kept := documentedPrune(n, c.Heads, share).KeepCount()
	whole := float64(n*c.Dim*c.Patch*c.Patch) + float64(float64(c.Layers)*layer(n)) + float64(c.Dim*c.Classes)
	return float64(c.Layers-judgedLayer) * (layer(n) - layer(kept)) / whole
}

func documentedPrune(patches, heads int, share float64) spec.ImageTokenPruneConfig {
	config := spec.DefaultImageTokenPruneConfig()
	config.NTokens, config.NHeads, config.PruneRatio = patches, heads, share
	return config
}

// A chooser says which patches of a picture stay where a share goes, ascending.
type chooser struct {
	name   string
	choose func(number int, picture *image.Gray, patch int, attention spec.Heads, share float64) ([]int, error)
}

// choosers are the module's variants that there are, random choice, and contrast.
func (a *Audit) choosers(heads int) (all []chooser, err error) {
	for _, v := range []struct {
		name    string
		variant spec.Variant
	}{{"documented", spec.Documented}, {"squish6", spec.Squish6}} {
		config := func(patches int, share float64) spec.ImageTokenPruneConfig {
			c := documentedPrune(patches, heads, share)
			c.Variant = v.variant
			return c
		}
		_, err := a.Implementation.ImageTokenPrune(config(1, 0))
		if v.variant != spec.Documented && spec.KindOf(err) == spec.Unsupported {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, chooser{v.name, func(_ int, _ *image.Gray, _ int, attention spec.Heads, share float64) ([]int, error) {
			c := config(attention.Tokens, share)
			prune, err := a.Implementation.ImageTokenPrune(c)
			if err != nil {
				return nil, err
			}
			var tokens spec.PrunedTokens
			if err := prune.Prune(&tokens, attention); err != nil {
				return nil, err
			}
			return tokens.Kept, partition(tokens, c)
		}})
	}
	random := func(number int, _ *image.Gray, _ int, attention spec.Heads, share float64) ([]int, error) {
		kept := rand.New(rand.NewPCG(a.Seed, 0x1a6e<<32+uint64(number))).Perm(attention.Tokens)
		kept = kept[:documentedPrune(attention.Tokens, heads, share).KeepCount()]
		slices.Sort(kept)
		return kept, nil
	}
	contrast := func(_ int, picture *image.Gray, patch int, attention spec.Heads, share float64) ([]int, error) {
		detail := patchDetail(picture, patch)
		order := make([]int, len(detail))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(detail[j], detail[i]) })
		kept := order[:documentedPrune(attention.Tokens, heads, share).KeepCount()]
		slices.Sort(kept)
		return kept, nil
	}
	return append(all, chooser{"random", random}, chooser{"contrast", contrast}), nil
}

// partition refuses tokens that are not all of them once, or another number than was
// asked for: a module that keeps more than it says would cost nothing.
func partition(t spec.PrunedTokens, c spec.ImageTokenPruneConfig) error {
	all := slices.Concat(t.Kept, t.Pruned)
	slices.Sort(all)
	for i, v := range all {
		if v != i {
			all = nil
			break
		}
	}
	switch {
	case len(all) != c.NTokens || !slices.IsSorted(t.Kept):
		return fmt.Errorf("kept are %v and pruned %v, which are not the %d patches: the audit cannot be trusted", t.Kept, t.Pruned, c.NTokens)
	case len(t.Kept) != c.KeepCount():
		return fmt.Errorf("%d of %d patches are kept, a prune_ratio of %v keeps %d: the audit cannot be trusted", len(t.Kept), c.NTokens, c.PruneRatio, c.KeepCount())
	}
	return nil
}

// patchDetail is the variance of the pixels of each patch, row by row, times their
// number. Pixels beyond the last whole patch are left out.
func patchDetail(picture *image.Gray, size int) (detail []float64) {
	across, down := picture.Rect.Dx()/size, picture.Rect.Dy()/size
	for i := range across * down {
		sum, squares := 0.0, 0.0
		for y := range size {
			at := picture.PixOffset(picture.Rect.Min.X+i%across*size, picture.Rect.Min.Y+i/across*size+y)
			for _, v := range picture.Pix[at:][:size] {
				sum += float64(v)
				squares += float64(v) * float64(v) // whole numbers
			}
		}
		detail = append(detail, squares-float64(sum*sum/float64(size*size)))
	}
	return detail
}

// prunings says which pictures a model knows whole, and which with some of their
// patches: by layer, share and chooser, in order.
func prunings(ctx context.Context, model *vision.Model, pictures []vision.Labelled, choosers []chooser) (whole []bool, pruned [][]bool, err error) {
	whole = make([]bool, len(pictures))
	for range len(prunedAfter) * len(prunedShares) * len(choosers) {
		pruned = append(pruned, make([]bool, len(pictures)))
	}
	errs := make([]error, len(pictures))
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pictures)) {
		group.Go(func() {
			session, rest := model.Session(), model.Session()
			var x, left spec.Matrix
			for i := int(next.Add(1)) - 1; i < len(pictures) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				p := pictures[i]
				errs[i] = func() error {
					if err := session.Embed(&x, p.Picture); err != nil {
						return err
					}
					at := 0
					for layer := range model.Config.Layers {
						session.Layer(&x, layer)
						if !slices.Contains(prunedAfter, layer+1) {
							continue
						}
						for _, share := range prunedShares {
							for _, ch := range choosers {
								kept, err := ch.choose(i, p.Picture, model.Config.Patch, session.Attention, share)
								if err != nil {
									return fmt.Errorf("%s, picture %d: %w", ch.name, i+1, err)
								}
								left.Resize(len(kept), x.Cols)
								for to, from := range kept {
									copy(left.Row(to), x.Row(from))
								}
								for l := layer + 1; l < model.Config.Layers; l++ {
									rest.Layer(&left, l)
								}
								pruned[at][i] = likeliest(rest.Logits(left)) == p.Class
								at++
							}
						}
					}
					whole[i] = likeliest(session.Logits(x)) == p.Class
					return nil
				}()
			}
		})
	}
	group.Wait()
	for _, err := range append(errs, ctx.Err()) {
		if err != nil {
			return nil, nil, err
		}
	}
	return whole, pruned, nil
}

// likeliest is the place of the largest.
func likeliest(x []float32) (at int) {
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at
}
