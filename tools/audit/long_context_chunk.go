package audit

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// cutsOf are the places where a module cuts embeddings.
func cutsOf(impl spec.Implementation, config spec.LongContextChunkConfig, x spec.Matrix) (cuts []int, err error) {
	config.EmbedDim = x.Cols
	chunker, err := impl.LongContextChunk(config)
	if err != nil {
		return nil, err
	}
	var chunks []spec.Chunk
	if err := chunker.Chunk(&chunks, x); err != nil {
		return nil, err
	}
	at := 0
	for _, c := range chunks {
		if c.Start != at || c.End <= at {
			return nil, fmt.Errorf("a chunk from %d to %d where one from %d was due: the audit cannot be trusted", c.Start, c.End, at)
		}
		at = c.End
		if size := c.End - c.Start; size > config.MaxChunkSize || size < config.MinChunkSize && at < x.Rows {
			return nil, fmt.Errorf("a chunk of %d tokens, of %d to %d: the audit cannot be trusted", size, config.MinChunkSize, config.MaxChunkSize)
		}
		cuts = append(cuts, at)
	}
	if at != x.Rows {
		return nil, fmt.Errorf("chunks of %d tokens end at %d: the audit cannot be trusted", x.Rows, at)
	}
	return cuts[:len(cuts)-1], nil
}

// found counts cuts, boundaries, and cuts that are right.
type found struct{ right, cuts, boundaries float64 }

func (f found) recall() float64    { return share100(f.right, f.boundaries) }
func (f found) precision() float64 { return share100(f.right, f.cuts) }

// f1 is the harmonic mean of precision and recall.
func (f found) f1() float64 { return share100(2*f.right, f.cuts+f.boundaries) }

func share100(part, of float64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * part / of
}

// match counts the cuts that are at most so many tokens from a boundary that no earlier
// cut is right by. Both ascend.
func match(cuts, boundaries []int, within int) found {
	f := found{0, float64(len(cuts)), float64(len(boundaries))}
	b := 0
	for _, c := range cuts {
		for b < len(boundaries) && boundaries[b] < c-within {
			b++
		}
		if b < len(boundaries) && boundaries[b] <= c+within {
			f.right++
			b++
		}
	}
	return f
}

// summed adds up what was found in texts, each so often.
func summed(texts []found, times []int) (sum found) {
	for i, f := range texts {
		k := 1.0
		if times != nil {
			k = float64(times[i])
		}
		sum.right += float64(k * f.right)
		sum.cuts += float64(k * f.cuts)
		sum.boundaries += float64(k * f.boundaries)
	}
	return sum
}

// fixedCuts are those of chunks of one size.
func fixedCuts(size, tokens int) (cuts []int) {
	for at := size; at < tokens; at += size {
		cuts = append(cuts, at)
	}
	return cuts
}

// forced counts the cuts that end a chunk of the largest size: a change of topic may be
// there as well, by chance.
func forced(cuts []int, largest int) (n float64) {
	start := 0
	for _, c := range cuts {
		if c-start == largest {
			n++
		}
		start = c
	}
	return n
}

// drawnCuts are so many between windows.
func drawnCuts(n, tokens, window int, r *rand.Rand) (cuts []int) {
	for _, w := range r.Perm((tokens - 1) / window)[:n] {
		cuts = append(cuts, (w+1)*window)
	}
	slices.Sort(cuts)
	return cuts
}

// plantedZ is how many standard deviations a boundary's distance is above the mean of
// all, where topics of so many windows have one distance from each other and none
// within. Of n·T windows there are n·T − 1 distances, a share p = (n − 1)/(n·T − 1) at
// boundaries: (1 − p)/√(p·(1 − p)), which is √(T − 1) of many topics.
func plantedZ(topics, windows int) float64 {
	n, t := float64(topics), float64(windows)
	return math.Sqrt(n * (t - 1) / (n - 1))
}

// halfFound is the greatest sensitivity at which half of the boundaries are found, which
// is what a boundary's z is in the median.
func halfFound(impl spec.Implementation, c spec.LongContextChunkConfig, j *joined) (float64, error) {
	x, low, high := j.embeddings(), 0.0, 16.0
	for range 12 {
		c.BoundarySensitivity = (low + high) / 2
		cuts, err := cutsOf(impl, c, x)
		if err != nil {
			return 0, err
		}
		if match(cuts, j.boundaries, 0).recall() >= 50 {
			low = c.BoundarySensitivity
		} else {
			high = c.BoundarySensitivity
		}
	}
	return low, nil
}

// evenCuts are so many at even distances, between windows.
func evenCuts(n, tokens, window int) (cuts []int) {
	for i := range n {
		cuts = append(cuts, (tokens*(i+1)/(n+1)+window/2)/window*window)
	}
	return cuts
}

// A chunking is what a config and the baselines find in texts.
type chunking struct {
	module, fixed, drawn, even []found // of each text
	forced                     float64 // of the module's cuts
}

// chunked cuts texts, and as often, here and there or at even distances, or in chunks of
// the largest size, without looking. A cut is right up to so many tokens from a
// boundary.
func (a *Audit) chunked(ctx context.Context, c spec.LongContextChunkConfig, texts []joined, within int) (*chunking, error) {
	const draws = 20
	r := rand.New(rand.NewPCG(a.Seed, 0xc07))
	k := &chunking{}
	for i := range texts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		j := &texts[i]
		cuts, err := cutsOf(a.Implementation, c, j.embeddings())
		if err != nil {
			return nil, err
		}
		tokens := len(j.tokens)
		k.forced += forced(cuts, c.MaxChunkSize)
		k.module = append(k.module, match(cuts, j.boundaries, within))
		k.fixed = append(k.fixed, match(fixedCuts(c.MaxChunkSize, tokens), j.boundaries, within))
		k.even = append(k.even, match(evenCuts(len(cuts), tokens, c.MinChunkSize), j.boundaries, within))
		var drawn []found
		for range draws {
			drawn = append(drawn, match(drawnCuts(len(cuts), tokens, c.MinChunkSize, r), j.boundaries, within))
		}
		sum := summed(drawn, nil)
		k.drawn = append(k.drawn, found{sum.right / draws, sum.cuts / draws, sum.boundaries / draws})
	}
	return k, nil
}

// row is what a curve says of a chunking.
func (k *chunking) row() []float64 {
	m := summed(k.module, nil)
	return []float64{m.recall(), m.precision(), m.f1(), share100(k.forced, m.cuts), summed(k.fixed, nil).f1(), summed(k.drawn, nil).f1(), summed(k.even, nil).f1()}
}

// over is by how much the module's F1 exceeds another's, and its interval over texts.
func (k *chunking) over(other []found, seed uint64) (float64, Interval) {
	by := func(times []int) float64 { return summed(k.module, times).f1() - summed(other, times).f1() }
	return by(nil), bootstrap(len(k.module), seed, "texts", by)
}

// Planted are so many topics, in embeddings of so many elements.
const plantedCount, plantedDim = 40, 64

// planted looks for boundaries between topics of 2 to 10 windows, and adds rows to a
// curve. exact is whether by the defaults those of 6 windows up to the longest chunk are
// all found, and no others. edge is what is found of topics of 5.
func (a *Audit) planted(ctx context.Context, curve *Curve) (exact bool, edge found, err error) {
	defaults := spec.DefaultLongContextChunkConfig()
	exact = true
	for windows := 2; windows <= 10; windows++ {
		j := plantedTopics(plantedCount, windows, defaults.MinChunkSize, plantedDim, a.Seed)
		long := defaults
		long.MaxChunkSize = len(j.tokens) - 1 // which forces no cut but at the end
		z, err := halfFound(a.Implementation, long, &j)
		if err != nil {
			return false, found{}, err
		}
		formula := plantedZ(plantedCount, windows)
		for _, c := range []spec.LongContextChunkConfig{long, defaults} {
			k, err := a.chunked(ctx, c, []joined{j}, 0)
			if err != nil {
				return false, found{}, err
			}
			m := k.module[0]
			curve.add(append([]float64{float64(windows), float64(c.MaxChunkSize), c.BoundarySensitivity, formula, z}, k.row()...)...)
			switch {
			case c == long && formula < 0.95*c.BoundarySensitivity && m.right > 0:
				return false, found{}, fmt.Errorf("%.0f boundaries are found between topics of %d windows, where z is %.2f and the threshold %v: the audit cannot be trusted", m.right, windows, formula, c.BoundarySensitivity)
			case c == long && windows == 5:
				edge = m
			case c == defaults && windows >= 6 && windows*defaults.MinChunkSize <= c.MaxChunkSize:
				exact = exact && m.right == m.boundaries && m.right == m.cuts
			}
		}
	}
	return exact, edge, nil
}

// topicBoundaries looks for boundaries that were planted between topics, and for those
// between texts that were joined.
func topicBoundaries(ctx context.Context, a *Audit, f *Finding) error {
	sources, kind := drawnSources(a.Seed), "drawn: "
	if a.Data != "" {
		var err error
		sources, err = readSources(a.Data)
		if err != nil {
			return err
		}
		kind = ""
		for _, s := range sources {
			f.Evidence = append(f.Evidence, s.name)
		}
	}
	defaults := spec.DefaultLongContextChunkConfig()
	window := defaults.MinChunkSize
	f.Curve = &Curve{Columns: []string{"windows a topic, 0 of texts", "max_chunk_size", "boundary_sensitivity", "z by the formula", "z measured",
		"recall %", "precision %", "F1 %", "cuts forced %", "F1 % of fixed chunks", "F1 % of drawn cuts", "F1 % of even cuts"}}

	exact, edge, err := a.planted(ctx, f.Curve)
	if err != nil {
		return err
	}

	const joins, pieces = 160, 10
	texts, err := joinTexts(a.Subject, sources, joins, pieces, window, a.Seed)
	if err != nil {
		return err
	}
	var byDefault *chunking
	var best, bestAt float64
	for _, sensitivity := range []float64{0.25, 0.5, 1, 1.5, defaults.BoundarySensitivity, 2.5, 3} {
		c := defaults
		c.BoundarySensitivity = sensitivity
		k, err := a.chunked(ctx, c, texts, window)
		if err != nil {
			return err
		}
		f.Curve.add(append([]float64{0, float64(c.MaxChunkSize), sensitivity, 0, 0}, k.row()...)...)
		if f1 := summed(k.module, nil).f1(); f1 > best {
			best, bestAt = f1, sensitivity
		}
		if c == defaults {
			byDefault = k
		}
	}
	m := summed(byDefault.module, nil)
	figure := m.f1()
	interval := bootstrap(joins, a.Seed, "texts", func(times []int) float64 { return summed(byDefault.module, times).f1() })
	f.Figure, f.Unit, f.Interval = &figure, "% F1 of boundaries between joined texts, by the defaults", &interval
	byFixed, overFixed := byDefault.over(byDefault.fixed, a.Seed)
	byDrawn, overDrawn := byDefault.over(byDefault.drawn, a.Seed)
	byEven, overEven := byDefault.over(byDefault.even, a.Seed)
	f.Verdict = boundariesVerdict(exact, overFixed, overDrawn, overEven)
	planted := "are not all found"
	if exact {
		planted = "are found exactly"
	}
	f.Note = fmt.Sprintf("planted: %d topics, each an axis of %d and noise, in whole windows of %d tokens; of 6 to %d windows all boundaries, and no others, %s by the defaults. "+
		"Of n topics of T windows a boundary's z is √(n(T−1)/(n−1)) at most, for the boundaries themselves make up the deviation: the threshold %v needs T of 5, of which %.0f%% are found, and shorter topics have none to find. Topics longer than %d windows are cut by force. "+
		"Texts: %d, each of %d pieces of 6 to 8 windows of tokens, %s%s, as rows of the model's embedding; a cut is right up to one window, %d tokens, from a boundary, and a boundary has one cut. By the defaults %.0f of %.0f boundaries are found by %.0f cuts, %.0f%% of which are forced: F1 is that of fixed chunks of %d tokens %+.1f points (%s), that of as many drawn cuts between windows %+.1f (%s), and that of as many at even distances %+.1f (%s), for pieces are of nearly one length. The best sensitivity of the curve is %v, F1 %.1f%%",
		plantedCount, plantedDim, window, defaults.MaxChunkSize/window, planted, defaults.BoundarySensitivity, edge.recall(), defaults.MaxChunkSize/window,
		joins, pieces, kind, sourceNames(sources), window, m.right, m.boundaries, m.cuts, share100(byDefault.forced, m.cuts),
		defaults.MaxChunkSize, byFixed, overFixed.Text("%+.1f"), byDrawn, overDrawn.Text("%+.1f"), byEven, overEven.Text("%+.1f"), bestAt, best)
	return nil
}

// boundariesVerdict is supported where planted boundaries are found, and between texts
// more than by any way that does not look. Where only the former are, it depends on the
// texts.
func boundariesVerdict(exact bool, over ...Interval) Verdict {
	if !exact {
		return Refuted
	}
	for _, o := range over {
		if o.Low <= 0 {
			return Conditional
		}
	}
	return Supported
}

func sourceNames(sources []textSource) string {
	var names []string
	for _, s := range sources {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
