package conformance

import (
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var videoFramePruneMutants = []mutant{
	{"video-frame-prune/motion", "compares with the frame before, kept or not", keepsByNeighbour, ""},
	{"video-frame-prune/motion", "asks for a tenth more motion", onVideoConfig(func(c *spec.VideoFramePruneConfig) { c.MotionThreshold *= 1.1 }), ""},
	{"video-frame-prune/motion", "keeps the last frame, whatever it shows", after("prune_temporal", func(c *proxy.Call) {
		kept := c.Dst.(*[]int)
		if n := c.Args[0].(spec.Matrix).Rows; n > 0 && !slices.Contains(*kept, n-1) {
			*kept = append(*kept, n-1)
		}
	}), ""},
	{"video-frame-prune/still", "keeps all zero frames", keepsZeros, ""},
	{"video-frame-prune/still", "keeps a frame of none", after("prune_temporal", func(c *proxy.Call) {
		if kept := c.Dst.(*[]int); len(*kept) == 0 {
			*kept = []int{0}
		}
	}), ""},
	{"video-frame-prune/online", "keeps the last frame, whatever it shows", after("prune_temporal", func(c *proxy.Call) {
		kept := c.Dst.(*[]int)
		if n := c.Args[0].(spec.Matrix).Rows; n > 0 && !slices.Contains(*kept, n-1) {
			*kept = append(*kept, n-1)
		}
	}), ""},
	{"video-frame-prune/repeats", "keeps every eighth frame at least", after("prune_temporal", func(c *proxy.Call) {
		kept := c.Dst.(*[]int)
		for f := 7; f < c.Args[0].(spec.Matrix).Rows; f += 8 {
			if !slices.Contains(*kept, f) {
				*kept = append(*kept, f)
			}
		}
		slices.Sort(*kept)
	}), ""},
	{"video-frame-prune/brightness", "asks for motion of a hundredth at least", func(next proxy.Handler) proxy.Handler {
		return before("prune_temporal", func(c *proxy.Call) {
			x := c.Args[0].(spec.Matrix)
			for i, v := range x.Data {
				if v > -0.01 && v < 0.01 {
					x.Data[i] = 0
				}
			}
		})(next)
	}, ""},
	{"video-frame-prune/count", "keeps one patch too many", onVideoConfig(func(c *spec.VideoFramePruneConfig) { c.SpatialPruneRatio *= 0.9 }), ""},
	{"video-frame-prune/count", "lists the best patch first", after("prune_spatial", func(c *proxy.Call) {
		slices.Reverse(*c.Dst.(*[]int))
	}), ""},
	{"video-frame-prune/entropy", "takes the length for the score, as recorded", onVideoConfig(func(c *spec.VideoFramePruneConfig) {
		c.Variant = spec.Squish6
		c.SpatialPruneRatio = min(0.999, c.SpatialPruneRatio+0.01)
	}), ""},
	{"video-frame-prune/entropy", "bins a patch by its own range", byOwnRange, ""},
	{"video-frame-prune/shuffle", "sees the first half of a patch only", onPatches(func(x spec.Matrix) {
		for p := range x.Rows {
			row := x.Row(p)
			for i := range row {
				row[i] = row[i%max(1, len(row)/2)]
			}
		}
	}), ""},
	{"video-frame-prune/ties", "keeps the later of patches that tie", func(next proxy.Handler) proxy.Handler {
		reversed := onPatches(func(x spec.Matrix) {
			for i, j := 0, x.Rows-1; i < j; i, j = i+1, j-1 {
				a, b := slices.Clone(x.Row(i)), slices.Clone(x.Row(j))
				copy(x.Row(i), b)
				copy(x.Row(j), a)
			}
		})(next)
		return after("prune_spatial", func(c *proxy.Call) {
			kept := *c.Dst.(*[]int)
			for i := range kept {
				kept[i] = c.Args[0].(spec.Matrix).Rows - 1 - kept[i]
			}
			slices.Reverse(kept)
		})(reversed)
	}, ""},
	{"video-frame-prune/clip", "counts the patches of frames kept only", after("prune_clip", func(c *proxy.Call) {
		out, x := c.Dst.(*spec.PrunedClip), c.Args[0].(spec.Heads)
		if n := len(out.Frames); n > 0 {
			out.Reduction = 1 - (1-out.Reduction)*float64(x.Heads)/float64(n)
		}
	}), ""},
	{"video-frame-prune/clip", "keeps the same patches of all frames", after("prune_clip", func(c *proxy.Call) {
		out := c.Dst.(*spec.PrunedClip)
		for i := range out.Patches {
			out.Patches[i] = out.Patches[0]
		}
	}), ""},
	{"video-frame-prune/stats", "counts the frames dropped", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.VideoFramePruneStats)
		s.FramesKept = s.FramesIn - s.FramesKept
	}), ""},
	{"video-frame-prune/stats", "does not count the patches of a clip", func(next proxy.Handler) proxy.Handler {
		clips := 0
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case err == nil && c.Op.Name == "prune_clip":
				for _, patches := range c.Dst.(*spec.PrunedClip).Patches {
					clips += len(patches)
				}
			case c.Op.Name == "stats":
				c.Dst.(*spec.VideoFramePruneStats).PatchesKept -= clips
			}
			return err
		}
	}, ""},
	{"video-frame-prune/cosine-squish6", "drops what is a tenth less similar too", onVideoConfig(func(c *spec.VideoFramePruneConfig) { c.SimilarityThreshold *= 0.9 }), ""},
	{"video-frame-prune/norm-squish6", "keeps the shortest patches", onPatches(func(x spec.Matrix) {
		for i, v := range x.Data {
			if v != 0 {
				x.Data[i] = 1 / v
			}
		}
	}), ""},
	{"video-frame-prune/norm-squish6", "rounds the count down", onVideoConfig(func(c *spec.VideoFramePruneConfig) {
		c.SpatialPruneRatio = min(0.99, c.SpatialPruneRatio*1.2+0.05)
	}), ""},
}

// onVideoConfig changes a config that is otherwise accepted.
func onVideoConfig(change func(*spec.VideoFramePruneConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.VideoFramePruneConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

// onPatches changes patches that are finite.
func onPatches(change func(spec.Matrix)) proxy.Layer {
	return before("prune_spatial", func(c *proxy.Call) {
		x := c.Args[0].(spec.Matrix)
		if spec.CheckMatrix("", "", x, -1, -1) == nil && areFinite(x.Data...) {
			change(x)
			if !areFinite(x.Data...) {
				clear(x.Data)
			}
		}
	})
}

// keepsByNeighbour keeps a frame where it differs from the one before it: each is
// asked for with its neighbour alone.
func keepsByNeighbour(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil || c.Op.Name != "prune_temporal" {
			return err
		}
		x, kept := c.Args[0].(spec.Matrix), c.Dst.(*[]int)
		*kept = (*kept)[:min(1, len(*kept))]
		for f := 1; f < x.Rows; f++ {
			var both []int
			pair := spec.Matrix{Rows: 2, Cols: x.Cols, Data: x.Data[(f-1)*x.Cols : (f+1)*x.Cols]}
			next(&proxy.Call{Module: c.Module, Op: c.Op, Args: []any{pair}, Dst: &both})
			if len(both) == 2 {
				*kept = append(*kept, f)
			}
		}
		return nil
	}
}

// keepsZeros keeps frames of zeros, which the recorded cosine finds unlike each
// other.
func keepsZeros(next proxy.Handler) proxy.Handler {
	return after("prune_temporal", func(c *proxy.Call) {
		x, kept := c.Args[0].(spec.Matrix), c.Dst.(*[]int)
		for f := range x.Rows {
			if !slices.ContainsFunc(x.Row(f), func(v float32) bool { return v != 0 }) && !slices.Contains(*kept, f) {
				*kept = append(*kept, f)
			}
		}
		slices.Sort(*kept)
	})(next)
}

// byOwnRange scales every patch to its own range before it is looked at.
var byOwnRange = onPatches(func(x spec.Matrix) {
	for p := range x.Rows {
		row := x.Row(p)
		low, high := slices.Min(row), slices.Max(row)
		for i, v := range row {
			if row[i] = 0; high > low {
				row[i] = float32((float64(v) - float64(low)) / (float64(high) - float64(low)))
			}
		}
	}
})
