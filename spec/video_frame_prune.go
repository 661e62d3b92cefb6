package spec

import (
	"math"
	"reflect"
)

// VideoFramePrune drops frames of a video in which little has changed, and patches
// of a frame in which there is little to see.
//
// Page rows: video-frame-prune/prune-temporal, video-frame-prune/prune-spatial.
type VideoFramePrune interface {
	// PruneTemporal writes which frames, vectors of embed_dim elements, are kept: the
	// first, and then each that differs enough from the last one kept, b. No frames
	// are none.
	//
	//	documented  mean|a−b| > 0 and mean|a−b| ≥ motion_threshold·mean|b|
	//	squish6     a·b/((‖a‖ + 10⁻¹⁰)·(‖b‖ + 10⁻¹⁰)) < similarity_threshold
	//
	// Another width and non-finite elements are Invalid.
	PruneTemporal(dst *[]int, frameEmbeddings Matrix) error
	// PruneSpatial writes which patches, vectors of embed_dim elements, are kept, in
	// ascending order: those of the highest score, of equal ones the first.
	//
	//	documented  the Shannon entropy of a patch's elements in 16 equal bins over
	//	            the range of all elements of the call, whose maximum is in the
	//	            last bin; 0 without a range. ⌊ratio·n·(1+2⁻⁵⁰)⌋ patches go, and
	//	            one at least stays
	//	squish6     the length; max(1, ⌈n·(1 − ratio)⌉) stay
	//
	// No patches, another width and non-finite elements are Invalid.
	PruneSpatial(dst *[]int, patchFeatures Matrix) error
	Stats() VideoFramePruneStats
}

// VideoClipPrune prunes a whole clip.
type VideoClipPrune interface {
	// PruneClip prunes a clip (frames, patches, embed_dim) in both ways: frames as
	// PruneTemporal does, a frame's vector being its patches joined end to end, and
	// the patches of each frame kept as PruneSpatial does. It counts as a call of the
	// former and one of the latter for each frame kept. No frames are none; no
	// patches, another width and non-finite elements are Invalid.
	PruneClip(dst *PrunedClip, clip Heads) error
}

// A PrunedClip is what is kept of a clip.
type PrunedClip struct {
	Frames  []int   `wire:"frames"`  // ascending
	Patches [][]int `wire:"patches"` // of each frame kept, ascending
	// Reduction is 1 − patches kept/patches of the whole clip, 0 of no frames.
	Reduction float64 `wire:"reduction"`
}

// VideoFramePruneConfig configures VideoFramePrune.
type VideoFramePruneConfig struct {
	Variant        Variant `wire:"variant"`          // Documented or Squish6
	NFrames        int     `wire:"n_frames"`         // expected in a clip, ≥ 1, default 32; any number is taken
	TokensPerFrame int     `wire:"tokens_per_frame"` // patches expected, ≥ 1, default 196; any number is taken
	// SimilarityThreshold is the cosine from which on squish6 drops a frame, in (0,
	// 1], default 0.92.
	SimilarityThreshold float64 `wire:"similarity_threshold"`
	// MotionThreshold is the share of the last frame kept that must have changed;
	// finite and > 0, default 0.1.
	MotionThreshold   float64 `wire:"motion_threshold"`
	SpatialPruneRatio float64 `wire:"spatial_prune_ratio"` // the share of patches that goes, in [0, 1), default 0.3
	EmbedDim          int     `wire:"embed_dim"`           // ≥ 1, default 256
}

// DefaultVideoFramePruneConfig returns the defaults.
func DefaultVideoFramePruneConfig() VideoFramePruneConfig {
	return VideoFramePruneConfig{
		NFrames: 32, TokensPerFrame: 196, SimilarityThreshold: 0.92, MotionThreshold: 0.1, SpatialPruneRatio: 0.3, EmbedDim: 256,
	}
}

// Validate returns an Invalid error that names the field out of range.
func (c VideoFramePruneConfig) Validate() error {
	const m = "video-frame-prune"
	s, t, r := c.SimilarityThreshold, c.MotionThreshold, c.SpatialPruneRatio
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		atLeast(m, "n_frames", c.NFrames, 1),
		atLeast(m, "tokens_per_frame", c.TokensPerFrame, 1),
		inRange(m, "similarity_threshold", "a number in (0, 1]", s, s > 0 && s <= 1),
		inRange(m, "motion_threshold", "a finite number above 0", t, t > 0 && !math.IsInf(t, 1)),
		inRange(m, "spatial_prune_ratio", "a number in [0, 1)", r, r >= 0 && r < 1),
		atLeast(m, "embed_dim", c.EmbedDim, 1),
		storesFit(m, c.EmbedDim),
	)
}

// KeepCount is the number of n patches that stay.
func (c VideoFramePruneConfig) KeepCount(n int) int {
	if c.Variant == Squish6 {
		return max(1, int(math.Ceil(float64(n)*(1-c.SpatialPruneRatio))))
	}
	return n - DropCount(c.SpatialPruneRatio, n)
}

// CheckFrames rejects an argument of PruneTemporal.
func (c VideoFramePruneConfig) CheckFrames(x Matrix) error { return c.check("frame_embeddings", x) }

// CheckPatches rejects an argument of PruneSpatial.
func (c VideoFramePruneConfig) CheckPatches(x Matrix) error {
	return firstError(c.check("patch_features", x), notEmpty("video-frame-prune", "patch_features", x))
}

func (c VideoFramePruneConfig) check(name string, x Matrix) error {
	const m = "video-frame-prune"
	return firstError(CheckMatrix(m, name, x, -1, c.EmbedDim), CheckFinite(m, name, x.Data))
}

// CheckClip rejects an argument of PruneClip.
func (c VideoFramePruneConfig) CheckClip(x Heads) error {
	const m = "video-frame-prune"
	if err := CheckHeads(m, "clip", x, x.Heads, -1, c.EmbedDim); err != nil {
		return err
	}
	if x.Heads > 0 && x.Tokens == 0 {
		return Reject(Invalid, m, "clip", "at least 1 patch a frame", 0)
	}
	return checkFiniteHeads(m, "clip", x)
}

// VideoFramePruneStats count what was kept.
type VideoFramePruneStats struct {
	TemporalCalls int `wire:"total_temporal_prune_calls"`
	FramesIn      int `wire:"total_frames_in"`
	FramesKept    int `wire:"total_frames_kept"`
	SpatialCalls  int `wire:"total_spatial_prune_calls"`
	PatchesKept   int `wire:"total_patches_kept"`
	// KeepRate is FramesKept/FramesIn, 0 before any frame.
	KeepRate float64 `wire:"temporal_keep_rate"`
}

const (
	frameTolerance = "exact; a frame within 2⁻²⁰ + u·(2·dim + 16), relative, of the threshold, as squish6 2⁻²⁰·threshold + u·(2·dim + 16), may be kept or not, and what follows is held to that"
	frameWhy       = "sums of dim magnitudes are off by so many roundings of themselves, a cosine by as many of 1"
	patchTolerance = "exact but for patches too near to tell: 2·ln(dim)/dim for each element within 2⁻¹⁶ + 64·u of a bin's edge, and 32·u of the entropy; as squish6 u·(dim + 16) of the length"
	patchWhy       = "an element on an edge may fall into either bin, which moves one count of dim from one term of the entropy to another"
)

var videoFramePrune = &Module{
	Name: "video-frame-prune", Wave: 23,
	Summary:   "video frames dropped where little moves, patches where there is little to see",
	Interface: reflect.TypeFor[VideoFramePrune](),
	Config:    DefaultVideoFramePruneConfig(),
	Defaults:  defaults(func(VideoFramePruneConfig) VideoFramePruneConfig { return DefaultVideoFramePruneConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[VideoFramePrune]("prune_temporal", named("kept"), named("frame_embeddings")),
		op[VideoFramePrune]("prune_spatial", named("kept"), named("patch_features")),
		op[VideoFramePrune]("stats", Param{}),
		optional[VideoClipPrune]("prune_clip", Param{}, named("clip")),
	},
	Requirements: append([]Requirement{{
		ID: "video-frame-prune/motion", Level: Must, Kind: Law,
		Text:      "The first frame is kept, and then exactly those that differ from the last one kept by at least motion_threshold of it, and at all.",
		Tolerance: frameTolerance, Why: frameWhy, Source: "page row video-frame-prune/prune-temporal: temporal motion difference; sums are compensated",
	}, {
		ID: "video-frame-prune/still", Level: Must, Kind: Law,
		Text:      "Of frames that are all the same one is kept, and of no frames none.",
		Tolerance: exact, Why: "equal elements have no difference", Source: "nothing moves",
	}, {
		ID: "video-frame-prune/online", Level: Must, Kind: Law,
		Text:      "What is kept of a clip's beginning does not depend on what follows.",
		Tolerance: exact, Why: "the implementation is compared with itself", Source: "a frame is compared with earlier ones only",
	}, {
		ID: "video-frame-prune/repeats", Level: Must, Kind: Law,
		Text:      "Showing every frame several times keeps the first showing of the frames that were kept.",
		Tolerance: exact, Why: "equal elements have no difference, and others the one that they had", Source: "a repeated frame does not differ from the last kept, or differs as it did",
	}, {
		ID: "video-frame-prune/brightness", Level: Must, Kind: Law,
		Text:      "Frames and patches times 2ᵏ keep what they kept.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "the threshold is a share of the last frame kept, the bins are of the range",
	}, {
		ID: "video-frame-prune/count", Level: Must, Kind: Law,
		Text:      "⌊spatial_prune_ratio·n·(1+2⁻⁵⁰)⌋ patches go, at least one stays, and those that stay ascend.",
		Tolerance: exact, Why: exactWhy, Source: "rules for all modules: a count from a ratio",
	}, {
		ID: "video-frame-prune/entropy", Level: Must, Kind: Law,
		Text:      "No patch goes whose entropy over 16 bins of the call's range is above that of one that stays.",
		Tolerance: patchTolerance, Why: patchWhy, Source: "page row video-frame-prune/prune-spatial: spatial entropy score; bins are cut in big floats",
	}, {
		ID: "video-frame-prune/shuffle", Level: Must, Kind: Law,
		Text:      "Reordering a patch's elements changes nothing.",
		Tolerance: exact, Why: "the counts are the same", Source: "a histogram knows no order",
	}, {
		ID: "video-frame-prune/ties", Level: Must, Kind: Law,
		Text:      "Of patches that fill as many bins with as many elements, whichever bins, the earliest stay.",
		Tolerance: exact, Why: "entropy is a sum over equal counts, which must not depend on their order", Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "video-frame-prune/clip", Level: Must, Kind: Law, Needs: []string{"prune_clip"},
		Text:      "A clip keeps the frames that its joined patches keep, of each frame kept the patches that it keeps alone, and its reduction is 1 − patches kept/patches.",
		Tolerance: "exact; reduction 2⁻⁵⁰", Why: "one division in float64; the implementation is compared with itself", Source: "the module's contract: whole clips",
	}, {
		ID: "video-frame-prune/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls, frames in, frames and patches kept; the keep rate is frames kept/frames in, 0 before any.",
		Tolerance: "counts exact; rate 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}, {
		ID: "video-frame-prune/cosine-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, a frame is kept exactly where its cosine with the last one kept, with 10⁻¹⁰ added to both norms, is below similarity_threshold.",
		Tolerance: frameTolerance, Why: frameWhy, Source: "the recording",
	}, {
		ID: "video-frame-prune/norm-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, the longest max(1, ⌈n·(1 − spatial_prune_ratio)⌉) patches stay.",
		Tolerance: patchTolerance, Why: "a length of dim elements is off by dim roundings of itself", Source: "the recording",
	}}, common("video-frame-prune", []Variant{Squish6}, frameTolerance+"; "+patchTolerance, frameWhy+"; "+patchWhy, "frames from compensated sums, bins from big floats")...),
}
