package ref

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewVideoFramePrune returns the reference of spec.VideoFramePrune, or an error of
// kind spec.Invalid for a config out of range.
func NewVideoFramePrune(c spec.VideoFramePruneConfig) (spec.VideoFramePrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &videoFramePrune{config: c}, nil
}

type videoFramePrune struct {
	config spec.VideoFramePruneConfig
	stats  spec.VideoFramePruneStats
}

func (p *videoFramePrune) PruneTemporal(dst *[]int, x spec.Matrix) error {
	if err := p.config.CheckFrames(x); err != nil {
		return err
	}
	var frames [][]float32
	for f := range x.Rows {
		frames = append(frames, x.Row(f))
	}
	*dst = append((*dst)[:0], p.temporal(frames)...)
	return nil
}

// temporal returns and counts the frames kept.
func (p *videoFramePrune) temporal(frames [][]float32) (kept []int) {
	for f := range frames {
		if f == 0 || p.differs(frames[f], frames[kept[len(kept)-1]]) {
			kept = append(kept, f)
		}
	}
	p.stats.TemporalCalls++
	p.stats.FramesIn += len(frames)
	p.stats.FramesKept += len(kept)
	return kept
}

// differs reports whether frame a is unlike b, the last one kept.
func (p *videoFramePrune) differs(a, b []float32) bool {
	if p.config.Variant == spec.Squish6 {
		lengths := (math.Sqrt(dotProduct(a, a)) + 1e-10) * (math.Sqrt(dotProduct(b, b)) + 1e-10)
		return dotProduct(a, b)/lengths < p.config.SimilarityThreshold
	}
	motion, size := 0.0, 0.0
	for i := range a {
		motion += math.Abs(float64(a[i]) - float64(b[i]))
		size += math.Abs(float64(b[i]))
	}
	return motion > 0 && motion >= float64(p.config.MotionThreshold*size)
}

func (p *videoFramePrune) PruneSpatial(dst *[]int, x spec.Matrix) error {
	if err := p.config.CheckPatches(x); err != nil {
		return err
	}
	*dst = append((*dst)[:0], p.spatial(x)...)
	return nil
}

// spatial returns and counts the patches kept.
func (p *videoFramePrune) spatial(x spec.Matrix) []int {
	scores := make([]float64, x.Rows)
	low, high := slices.Min(x.Data), slices.Max(x.Data)
	for i := range scores {
		if p.config.Variant == spec.Squish6 {
			scores[i] = math.Sqrt(dotProduct(x.Row(i), x.Row(i)))
		} else if low < high {
			scores[i] = binnedEntropy(x.Row(i), float64(low), float64(high))
		}
	}
	kept := byScore(scores)[:p.config.KeepCount(x.Rows)]
	slices.Sort(kept)
	p.stats.SpatialCalls++
	p.stats.PatchesKept += len(kept)
	return kept
}

// binnedEntropy is the entropy, in nats, of elements in 16 bins over [low, high].
// Counts are sorted before they are added up, so that patches that fill bins alike
// tie.
func binnedEntropy(elements []float32, low, high float64) float64 {
	counts := make([]int, 16)
	for _, v := range elements {
		bin := int((float64(v) - low) / (high - low) * 16)
		counts[min(bin, 15)]++
	}
	slices.Sort(counts)
	entropy := 0.0
	for _, n := range counts {
		if n > 0 {
			share := float64(n) / float64(len(elements))
			entropy -= float64(share * math.Log(share))
		}
	}
	return entropy
}

func (p *videoFramePrune) PruneClip(dst *spec.PrunedClip, clip spec.Heads) error {
	if err := p.config.CheckClip(clip); err != nil {
		return err
	}
	var frames [][]float32
	for f := range clip.Heads {
		frames = append(frames, clip.Head(f).Data)
	}
	dst.Frames = append(dst.Frames[:0], p.temporal(frames)...)
	dst.Patches = spec.Resize(dst.Patches, len(dst.Frames))
	kept := 0
	for i, f := range dst.Frames {
		dst.Patches[i] = append(dst.Patches[i][:0], p.spatial(clip.Head(f))...)
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
