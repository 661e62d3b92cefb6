package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/bins"
	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/motion"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewVideoFramePrune returns the optimised spec.VideoFramePrune, or an error of
// kind spec.Invalid for a config out of range.
//
// What is known of the last frame kept is kept with it, so that a frame costs one
// pass, in float32, which shows what is not finite too; a frame that float32 cannot
// decide is compared again in float64. Patches are counted into bins, ranked without a
// logarithm, and selected.
func NewVideoFramePrune(c spec.VideoFramePruneConfig) (spec.VideoFramePrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &videoFramePrune{config: c, bins: bins.New(c.EmbedDim)}, nil
}

type videoFramePrune struct {
	config          spec.VideoFramePruneConfig
	bins            *bins.Ranker
	scores, scratch []float64
	lengths         []float32
	dropped         []int
	stats           spec.VideoFramePruneStats
}

func (p *videoFramePrune) PruneTemporal(dst *[]int, x spec.Matrix) error {
	if spec.CheckMatrix("video-frame-prune", "frame_embeddings", x, -1, p.config.EmbedDim) != nil {
		return p.config.CheckFrames(x)
	}
	kept, finite := p.temporal((*dst)[:0], spec.Heads{Heads: x.Rows, Tokens: 1, Dim: x.Cols, Stride: x.Cols, Data: x.Data})
	*dst = kept
	if !finite {
		return p.config.CheckFrames(x)
	}
	return nil
}

// temporal appends and counts the frames kept, each all tokens of a head, and reports
// whether all are finite; if not, nothing is counted.
func (p *videoFramePrune) temporal(kept []int, frames spec.Heads) (_ []int, finite bool) {
	compare := p.byMotion
	if p.config.Variant == spec.Squish6 {
		compare = p.byCosine
	}
	first := len(kept)
	var last []float32
	var measure float64 // of the last frame kept
	for f := range frames.Heads {
		frame := frames.Head(f).Data
		differs, own := compare(frame, last, measure)
		if math.IsNaN(own) || math.IsInf(own, 0) {
			return kept, false
		}
		if differs {
			last, measure = frame, own
			kept = append(kept, f)
		}
	}
	p.stats.TemporalCalls++
	p.stats.FramesIn += frames.Heads
	p.stats.FramesKept += len(kept) - first
	return kept, true
}

// byMotion reports whether a frame differs enough from the last one kept, none at
// first, of that size, and returns its own size, Σ|aᵢ|, which is not finite where an
// element is not. Where sums in float32 cannot tell, they are taken in float64.
func (p *videoFramePrune) byMotion(frame, last []float32, lastSize float64) (differs bool, size float64) {
	if last == nil {
		last, differs = frame, true
	}
	d, s := kern.Distance(frame, last)
	distance, size := float64(d), float64(s)
	if !(size <= math.MaxFloat32) {
		size = motion.Size(frame)
	}
	if differs {
		return true, size
	}
	limit := p.config.MotionThreshold * lastSize
	if !(math.Abs(distance-limit) > roundoff*float64(len(frame)+16)*(distance+limit)) {
		distance, limit = motion.Between(frame, last), p.config.MotionThreshold*motion.Size(last)
	}
	return distance > 0 && distance >= limit, size
}

// byCosine is byMotion for squish6, whose measure is the length.
func (p *videoFramePrune) byCosine(frame, last []float32, lastLength float64) (differs bool, length float64) {
	if last == nil {
		last, differs = frame, true
	}
	const smoothing = 1e-10
	dot, square := dots.WithSquare(frame, last)
	length = math.Sqrt(square) + smoothing
	if differs {
		return true, length
	}
	lengths := length * lastLength
	if !(math.Abs(dot-p.config.SimilarityThreshold*lengths) > roundoff*float64(len(frame)+16)*lengths) {
		dot = dots.Exact(frame, last)
		lengths = (math.Sqrt(dots.Exact(frame, frame)) + smoothing) * (math.Sqrt(dots.Exact(last, last)) + smoothing)
	}
	return dot/lengths < p.config.SimilarityThreshold, length
}

// roundoff is half the distance of float32s, relative.
const roundoff = 0x1p-24

func (p *videoFramePrune) PruneSpatial(dst *[]int, x spec.Matrix) error {
	if x.Rows == 0 || spec.CheckMatrix("video-frame-prune", "patch_features", x, -1, p.config.EmbedDim) != nil || !p.score(x) {
		return p.config.CheckPatches(x)
	}
	*dst = p.spatial((*dst)[:0])
	return nil
}

// score scores patches, and reports whether all are finite.
func (p *videoFramePrune) score(x spec.Matrix) (finite bool) {
	p.scores = spec.Resize(p.scores, x.Rows)
	if p.config.Variant == spec.Squish6 {
		return p.scoreByLength(x)
	}
	low, high, finite := kern.Extremes(x.Data)
	switch {
	case !finite:
	case low < high:
		p.bins.Scores(p.scores, x, low, high)
	default:
		clear(p.scores)
	}
	return finite
}

// scoreByLength scores by the squared length. Lengths whose squares may have under- or
// overflowed are computed in float64.
func (p *videoFramePrune) scoreByLength(x spec.Matrix) (finite bool) {
	p.lengths = spec.Resize(p.lengths, x.Rows)
	clear(p.lengths)
	kern.AddRowNorms(p.lengths, x.Data)
	for i, length := range p.lengths {
		score := float64(length) * float64(length)
		if !(length >= 0x1p-50 && length <= 0x1p50) {
			if score = dots.Exact(x.Row(i), x.Row(i)); math.IsNaN(score) || math.IsInf(score, 0) {
				return false
			}
		}
		p.scores[i] = score
	}
	return true
}

// spatial appends and counts the patches kept, once they are scored.
func (p *videoFramePrune) spatial(kept []int) []int {
	p.scratch = spec.Resize(p.scratch, len(p.scores))
	keep := p.config.KeepCount(len(p.scores))
	kept, p.dropped = topk.Split(kept, p.dropped[:0], p.scores, p.scratch, keep)
	p.stats.SpatialCalls++
	p.stats.PatchesKept += keep
	return kept
}

func (p *videoFramePrune) PruneClip(dst *spec.PrunedClip, clip spec.Heads) error {
	if spec.CheckHeads("video-frame-prune", "clip", clip, clip.Heads, -1, p.config.EmbedDim) != nil || clip.Heads > 0 && clip.Tokens == 0 {
		return p.config.CheckClip(clip)
	}
	var finite bool
	if dst.Frames, finite = p.temporal(dst.Frames[:0], clip); !finite {
		return p.config.CheckClip(clip)
	}
	dst.Patches = spec.Resize(dst.Patches, len(dst.Frames))
	kept := 0
	for i, f := range dst.Frames {
		p.score(clip.Head(f))
		dst.Patches[i] = p.spatial(dst.Patches[i][:0])
		kept += len(dst.Patches[i])
	}
	dst.Reduction = 0
	if clip.Heads > 0 {
		dst.Reduction = 1 - float64(kept)/float64(clip.Heads*clip.Tokens)
	}
	return nil
}

func (p *videoFramePrune) Stats() spec.VideoFramePruneStats {
	s := p.stats
	if s.FramesIn > 0 {
		s.KeepRate = float64(s.FramesKept) / float64(s.FramesIn)
	}
	return s
}
