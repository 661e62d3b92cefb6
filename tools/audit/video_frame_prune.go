package audit

import (
	"context"
	"fmt"
	"image"
	"image/draw"
	"math"
	"math/rand/v2"
	"path"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// kept are the patches that are kept of each frame of a clip, none of a frame that is
// dropped.
type kept [][]int

func (k kept) tokens() (n int) {
	for _, patches := range k {
		n += len(patches)
	}
	return n
}

// frames are those of which something is kept.
func (k kept) frames() (frames []int) {
	for t, patches := range k {
		if len(patches) > 0 {
			frames = append(frames, t)
		}
	}
	return frames
}

// squares are what a clip that is shown from what is kept is off by, the mean square
// of each frame in grey levels. Every patch is shown as it was last kept, and where it
// never was, flat: in the mean grey of the nearest patch that the latest frame has kept,
// of equally near ones the first, or in its own, which no flat patch is nearer than.
func (k kept) squares(x spec.Heads, across int, own bool) []float64 {
	shown, flat, squares := make([][]float32, x.Tokens), make([]float64, x.Tokens), make([]float64, x.Heads)
	for t := range x.Heads {
		frame := x.Head(t)
		for _, p := range k[t] {
			shown[p] = frame.Row(p)
		}
		sum := 0.0
		for p := range shown {
			patch := frame.Row(p)
			if row := shown[p]; row != nil {
				for i, v := range patch {
					off := float64(v) - float64(row[i])
					sum += float64(off * off)
				}
				continue
			}
			if own {
				flat[p] = mean(patch)
			} else if len(k[t]) > 0 {
				flat[p] = mean(frame.Row(nearestPatch(p, k[t], across)))
			}
			for _, v := range patch {
				off := float64(v) - flat[p]
				sum += float64(off * off)
			}
		}
		squares[t] = 255 * 255 * sum / float64(x.Tokens*x.Dim)
	}
	return squares
}

func mean(elements []float32) (sum float64) {
	for _, v := range elements {
		sum += float64(v)
	}
	return sum / float64(len(elements))
}

// nearestPatch is the one of some patches, in rows of so many, that is nearest to p.
func nearestPatch(p int, patches []int, across int) (best int) {
	least := math.MaxInt
	for _, q := range patches {
		right, down := q%across-p%across, q/across-p/across
		if d := right*right + down*down; d < least {
			best, least = q, d
		}
	}
	return best
}

func rmse(squares []float64) float64 { return math.Sqrt(total(squares) / float64(len(squares))) }

// wholeFrames keeps so many patches in frames at even distances, all of each, but of
// the last the rest, which is drawn.
func wholeFrames(tokens, frames, patches int, r *rand.Rand) kept {
	k, n := make(kept, frames), (tokens+patches-1)/patches
	for i := range n {
		k[i*frames/n] = r.Perm(patches)[:min(patches, tokens-i*patches)]
	}
	return k
}

// scattered keeps as many frames at even distances, and in each as many patches, which
// are drawn.
func (k kept) scattered(patches int, r *rand.Rand) kept {
	s, frames := make(kept, len(k)), k.frames()
	for i, t := range frames {
		s[i*len(k)/len(frames)] = r.Perm(patches)[:len(k[t])]
	}
	return s
}

// stillLevels is the mean change, in grey levels, below which a patch is called still.
const stillLevels = 2

// changes are the mean changes of the patches of each frame but the first, in grey
// levels.
func changes(x spec.Heads) (all []float64) {
	for t := 1; t < x.Heads; t++ {
		for p := range x.Tokens {
			before, sum := x.Head(t-1).Row(p), 0.0
			for i, v := range x.Head(t).Row(p) {
				sum += math.Abs(float64(v) - float64(before[i]))
			}
			all = append(all, 255*sum/float64(x.Dim))
		}
	}
	return all
}

func stillShare(changes []float64) float64 {
	n := 0
	for _, c := range changes {
		if c < stillLevels {
			n++
		}
	}
	return float64(n) / float64(len(changes))
}

// A clipPruner prunes one clip with one implementation, in the two stages, and looks at
// no frame's patches twice.
type clipPruner struct {
	impl    spec.Implementation
	x       spec.Heads
	patches map[spec.VideoFramePruneConfig]kept // of frames that were looked at
}

// prune is what a config keeps.
func (p *clipPruner) prune(config spec.VideoFramePruneConfig) (kept, error) {
	config.NFrames, config.TokensPerFrame = p.x.Heads, p.x.Tokens
	config.EmbedDim = p.x.Tokens * p.x.Dim
	temporal, err := p.impl.VideoFramePrune(config)
	if err != nil {
		return nil, err
	}
	var frames []int
	if err := temporal.PruneTemporal(&frames, spec.Matrix{Rows: p.x.Heads, Cols: config.EmbedDim, Data: p.x.Data}); err != nil {
		return nil, err
	}
	if !ascend(frames, p.x.Heads) || len(frames) == 0 || frames[0] != 0 {
		return nil, fmt.Errorf("%s keeps frames %v of %d: the audit cannot be trusted", config.Variant, frames, p.x.Heads)
	}
	config.EmbedDim = p.x.Dim
	spatial, err := p.impl.VideoFramePrune(config)
	if err != nil {
		return nil, err
	}
	seen := config
	seen.MotionThreshold = 0 // of no matter to patches
	if p.patches[seen] == nil {
		p.patches[seen] = make(kept, p.x.Heads)
	}
	k, known := make(kept, p.x.Heads), p.patches[seen]
	for _, t := range frames {
		if known[t] == nil {
			if err := spatial.PruneSpatial(&known[t], p.x.Head(t)); err != nil {
				return nil, err
			}
			if want := config.KeepCount(p.x.Tokens); !ascend(known[t], p.x.Tokens) || len(known[t]) != want {
				return nil, fmt.Errorf("%s keeps patches %v of %d, and not %d of them: the audit cannot be trusted", config.Variant, known[t], p.x.Tokens, want)
			}
		}
		k[t] = known[t]
	}
	return k, nil
}

// agrees sees that a clip that is pruned at once, where the module can, is pruned as in
// two stages.
func (p *clipPruner) agrees(config spec.VideoFramePruneConfig, k kept) error {
	config.NFrames, config.TokensPerFrame, config.EmbedDim = p.x.Heads, p.x.Tokens, p.x.Dim
	m, err := p.impl.VideoFramePrune(config)
	if err != nil {
		return err
	}
	whole, ok := m.(spec.VideoClipPrune)
	if !ok {
		return nil
	}
	var pruned spec.PrunedClip
	if err := whole.PruneClip(&pruned, p.x); err != nil {
		if spec.KindOf(err) == spec.Unsupported {
			return nil
		}
		return err
	}
	removed := 1 - float64(k.tokens())/float64(p.x.Heads*p.x.Tokens)
	if fmt.Sprint(pruned.Frames) != fmt.Sprint(k.frames()) || !(math.Abs(pruned.Reduction-removed) < 1e-9) {
		return fmt.Errorf("%s prunes the clip to %d frames, a reduction of %v, and in two stages to %d, of %v: the audit cannot be trusted",
			config.Variant, len(pruned.Frames), pruned.Reduction, len(k.frames()), removed)
	}
	return nil
}

// ascend reports whether places ascend and are below n.
func ascend(places []int, n int) bool {
	last := -1
	for _, p := range places {
		if p <= last || p >= n {
			return false
		}
		last = p
	}
	return true
}

// The claim, in % of tokens.
const leastPruned, mostPruned = 60, 80

// prunesWell reports whether as much goes as the page says, or more, at an error that is
// less than without looking.
func prunesWell(removed float64, overWhole, overDrawn Interval) bool {
	return removed >= leastPruned && overWhole.Low > 0 && overDrawn.Low > 0
}

// videoTokens prunes clips, shows them from what is kept, and counts tokens and errors.
// The claim holds for a clip at a setting that removes what the page says, or more, and
// shows the clip nearer than as many tokens do of whole frames at even distances, and of
// patches that are drawn in as many frames: it is supported where it holds for every
// clip at the defaults, and refuted where it holds for none at any setting of both
// stages.
func videoTokens(ctx context.Context, a *Audit, f *Finding) error {
	clips, source := drawnClips(a.Seed), "drawn clips"
	if a.Data != "" {
		var err error
		clips, err = readClips(a.Data)
		if err != nil {
			return err
		}
		source = "clips"
		for _, c := range clips {
			f.Evidence = append(f.Evidence, c.name)
		}
	}
	defaults := spec.DefaultVideoFramePruneConfig()
	f.Curve = &Curve{Columns: []string{"clip", "still patches %", "motion_threshold", "spatial_prune_ratio", "frames kept %", "tokens removed %",
		"error, grey levels", "flat patches in their own grey", "whole frames of as many tokens", "as many frames, patches drawn"}}
	r := rand.New(rand.NewPCG(a.Seed, 0xf1a3e))
	var fixed, moving []string // notes on clips
	byDefault, anyhow, worst := 0, 0, 100.0
	for n, c := range clips {
		x, across := c.patches(), c.width/clipPatch
		p := &clipPruner{a.Implementation, x, map[spec.VideoFramePruneConfig]kept{}}
		still := 100 * stillShare(changes(x))
		removed := func(k kept) float64 { return 100 * (1 - float64(k.tokens())/float64(x.Heads*x.Tokens)) }
		note := fmt.Sprintf("%d (%s, %d frames of %d patches, %.1f%% of them still)", n+1, path.Base(c.name), x.Heads, x.Tokens, still)
		var within, holds []string // settings
		for _, ratio := range []float64{defaults.SpatialPruneRatio, 0} {
			for _, threshold := range []float64{0.02, 0.05, defaults.MotionThreshold, 0.15, 0.2, 0.3} {
				if err := ctx.Err(); err != nil {
					return err
				}
				config := defaults
				config.MotionThreshold, config.SpatialPruneRatio = threshold, ratio
				k, err := p.prune(config)
				if err != nil {
					return err
				}
				squares := k.squares(x, across, false)
				whole, err := averaged(ctx, func() []float64 { return wholeFrames(k.tokens(), x.Heads, x.Tokens, r).squares(x, across, false) })
				if err != nil {
					return err
				}
				drawn, err := averaged(ctx, func() []float64 { return k.scattered(x.Tokens, r).squares(x, across, false) })
				if err != nil {
					return err
				}
				f.Curve.add(float64(n+1), still, threshold, ratio, 100*float64(len(k.frames()))/float64(x.Heads), removed(k),
					rmse(squares), rmse(k.squares(x, across, true)), rmse(whole), rmse(drawn))
				setting := fmt.Sprintf("%v/%v", threshold, ratio)
				if removed(k) >= leastPruned && removed(k) <= mostPruned {
					within = append(within, setting)
				}
				byWhole, overWhole := nearer(squares, whole, a.Seed)
				byDrawn, overDrawn := nearer(squares, drawn, a.Seed)
				held := runsOf(x.Heads) >= fewRuns && prunesWell(removed(k), overWhole, overDrawn)
				if held {
					holds = append(holds, setting)
				}
				if held && ratio > 0 {
					anyhow++
				}
				if config != defaults {
					continue
				}
				if held {
					byDefault++
				}
				worst = min(worst, removed(k))
				note += fmt.Sprintf(": the defaults keep %d of the frames and remove %.1f%%, which is off by %.1f grey levels, in mean square nearer than whole frames by %+.1f (%s) and than drawn patches by %+.1f (%s)",
					len(k.frames()), removed(k), rmse(squares), byWhole, overWhole.Text("%+.1f"), byDrawn, overDrawn.Text("%+.1f"))
				if err := p.agrees(config, k); err != nil {
					return err
				}
				if err := a.picture(fmt.Sprintf("video-frame-prune-%d.png", n+1), k.strip(c)); err != nil {
					return err
				}
			}
		}
		config := defaults
		config.Variant = spec.Squish6
		switch k, err := p.prune(config); {
		case err == nil:
			note += fmt.Sprintf("; squish6's remove %.1f%%, off by %.1f", removed(k), rmse(k.squares(x, across, false)))
		case spec.KindOf(err) != spec.Unsupported:
			return err
		}
		note += fmt.Sprintf("; %d to %d%% go at %s; the claim holds at %s", leastPruned, mostPruned, orNone(within), orNone(holds))
		if still >= 50 {
			fixed = append(fixed, note)
		} else {
			moving = append(moving, note)
		}
	}
	f.counted(worst, "% of tokens removed from the clip that keeps most, by the defaults")
	switch {
	case byDefault == len(clips):
		f.Verdict = Supported
	case anyhow > 0:
		f.Verdict = Conditional
	default:
		f.Verdict = Refuted
	}
	f.Note = fmt.Sprintf("%d %s in patches of %d×%d; by the defaults the claim holds for %d: %d%% or more go, and what is shown of the rest is nearer to the clip than as many tokens of whole frames at even distances, and of drawn patches in as many frames. It depends on whether the camera moves. "+
		"Most patches change by less than %d levels a frame: %s. They do not: %s. "+
		"Settings are motion_threshold/spatial_prune_ratio; at 0 there is no spatial stage. A patch is shown as last kept; one that never was flat, as the nearest that is kept. Intervals are bootstraps over runs of eight frames",
		len(clips), source, clipPatch, clipPatch, byDefault, leastPruned, stillLevels, orNone(fixed), orNone(moving))
	return nil
}

// averaged is the mean of four draws.
func averaged(ctx context.Context, draw func() []float64) (mean []float64, err error) {
	const draws = 4
	for range draws {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		squares := draw()
		if mean == nil {
			mean = make([]float64, len(squares))
		}
		for i, s := range squares {
			mean[i] += s / draws
		}
	}
	return mean, nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// frameRun is how many frames in a row are one sample, for neighbours are alike, and
// fewRuns below what they say anything.
const (
	frameRun = 8
	fewRuns  = 3
)

func runsOf(frames int) int { return (frames + frameRun - 1) / frameRun }

// nearer is by how much the mean square of one reconstruction is less than another's,
// with its interval over runs of eight frames, of which neighbours are alike.
func nearer(squares, other []float64, seed uint64) (float64, Interval) {
	n := runsOf(len(squares))
	less, frames := make([]float64, n), make([]float64, n)
	for t, s := range squares {
		less[t/frameRun] += other[t] - s
		frames[t/frameRun]++
	}
	return ratio(1, less, frames, seed, "runs of eight frames")
}

// strip is up to six of the frames kept, side by side, dark but for the patches kept.
func (k kept) strip(c *clip) *image.Gray {
	const most = 6
	frames := k.frames()
	n := min(most, len(frames))
	width, height := c.width/clipPatch*clipPatch, c.height/clipPatch*clipPatch
	strip := image.NewGray(image.Rect(0, 0, n*width, height))
	for i := range n {
		t := frames[i*len(frames)/n]
		draw.Draw(strip, image.Rect(i*width, 0, (i+1)*width, height), darkened(c.picture(t), clipPatch, k[t]), image.Point{}, draw.Src)
	}
	return strip
}
