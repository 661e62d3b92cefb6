package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/bins"
	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/motion"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewVideoFramePrune returns the optimised spec.VideoFramePrune, or an error of
// kind spec.Invalid for a config out of range.
//
// What is known of the last frame kept is kept with it, so that a frame costs one
// pass. Patches are counted into bins, ranked without a logarithm, and selected.
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
	dropped         []int
	stats           spec.VideoFramePruneStats
}

func (p *videoFramePrune) PruneTemporal(dst *[]int, x spec.Matrix) error {
	if err := p.config.CheckFrames(x); err != nil {
		return err
	}
	*dst = p.temporal((*dst)[:0], spec.Heads{Heads: x.Rows, Tokens: 1, Dim: x.Cols, Stride: x.Cols, Data: x.Data})
	return nil
}

// temporal appends and counts the frames kept, each all tokens of a head.
func (p *videoFramePrune) temporal(kept []int, frames spec.Heads) []int {
	first := len(kept)
	var last []float32
	var measure float64 // of the last frame kept: its size, or its length
	for f := range frames.Heads {
		frame := frames.Head(f).Data
		switch {
		case f == 0:
		case p.config.Variant == spec.Squish6:
			dot, square := dots.WithSquare(frame, last)
			if dot/((math.Sqrt(square)+1e-10)*measure) >= p.config.SimilarityThreshold {
				continue
			}
		default:
			if moved := motion.Between(frame, last); moved == 0 || moved < p.config.MotionThreshold*measure {
				continue
			}
		}
		last = frame
		if p.config.Variant == spec.Squish6 {
			_, square := dots.WithSquare(frame, frame)
			measure = math.Sqrt(square) + 1e-10
		} else {
			measure = motion.Size(frame)
		}
		kept = append(kept, f)
	}
	p.stats.TemporalCalls++
	p.stats.FramesIn += frames.Heads
	p.stats.FramesKept += len(kept) - first
	return kept
}

func (p *videoFramePrune) PruneSpatial(dst *[]int, x spec.Matrix) error {
	if err := p.config.CheckPatches(x); err != nil {
		return err
	}
	*dst = p.spatial((*dst)[:0], x)
	return nil
}

// spatial appends and counts the patches kept.
func (p *videoFramePrune) spatial(kept []int, x spec.Matrix) []int {
	p.scores, p.scratch = spec.Resize(p.scores, x.Rows), spec.Resize(p.scratch, x.Rows)
	if p.config.Variant == spec.Squish6 {
		for i := range p.scores {
			_, p.scores[i] = dots.WithSquare(x.Row(i), x.Row(i))
		}
	} else if low, high := extremes(x.Data); low < high {
		for i := range p.scores {
			p.scores[i] = p.bins.Score(x.Row(i), float64(low), float64(high))
		}
	} else {
		clear(p.scores)
	}
	keep := p.config.KeepCount(x.Rows)
	kept, p.dropped = topk.Split(kept, p.dropped[:0], p.scores, p.scratch, keep)
	p.stats.SpatialCalls++
	p.stats.PatchesKept += keep
	return kept
}

// extremes returns the least and the greatest of finite numbers.
func extremes(data []float32) (low, high float32) {
	low, high = data[0], data[0]
	for _, v := range data {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

func (p *videoFramePrune) PruneClip(dst *spec.PrunedClip, clip spec.Heads) error {
	if err := p.config.CheckClip(clip); err != nil {
		return err
	}
	dst.Frames = p.temporal(dst.Frames[:0], clip)
	dst.Patches = spec.Resize(dst.Patches, len(dst.Frames))
	kept := 0
	for i, f := range dst.Frames {
		dst.Patches[i] = p.spatial(dst.Patches[i][:0], clip.Head(f))
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
