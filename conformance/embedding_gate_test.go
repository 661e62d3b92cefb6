package conformance

import (
	"math"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var embeddingGateMutants = []mutant{
	{"embedding-gate/cosine", "takes the dot product for the cosine", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.EmbeddingGateConfig)
		config.Variant = spec.Squish6
		c.Args[0] = config
	}), ""},
	{"embedding-gate/cosine", "takes a negative cosine for a low one", onGated(func(x spec.Matrix, out *spec.GatedEmbeddings) {
		for r := range x.Rows {
			sum := float32(0)
			for _, v := range x.Row(r) {
				sum += v
			}
			if sum < 0 {
				routeTo(out, x, r, 0)
			}
		}
	}), ""},
	{"embedding-gate/selected", "multiplies by the route, which leaves −0", onGated(func(x spec.Matrix, out *spec.GatedEmbeddings) {
		for r := range x.Rows {
			for i, v := range x.Row(r) {
				out.Masked.Row(r)[i] = v * float32(out.Route[r])
			}
		}
	}), ""},
	{"embedding-gate/selected", "leaves text rows in", onGated(func(x spec.Matrix, out *spec.GatedEmbeddings) {
		copy(out.Masked.Data, x.Data)
	}), ""},
	{"embedding-gate/scale-free", "sends short rows to text", onGated(func(x spec.Matrix, out *spec.GatedEmbeddings) {
		for r := range x.Rows {
			if math.Abs(float64(x.Row(r)[0])) < 1e-5 {
				routeTo(out, x, r, 0)
			}
		}
	}), ""},
	{"embedding-gate/rows", "routes every row as the first", onGated(func(x spec.Matrix, out *spec.GatedEmbeddings) {
		for r := range x.Rows {
			routeTo(out, x, r, out.Route[0])
		}
	}), ""},
	{"embedding-gate/nested", "takes thresholds of 0.9 and above for 0.01", before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.EmbeddingGateConfig); config.Threshold >= 0.9 && config.Threshold <= 1 {
			config.Threshold = 0.01
			c.Args[0] = config
		}
	}), ""},
	{"embedding-gate/zero-rows", "sends zeros to vision", onGated(func(x spec.Matrix, out *spec.GatedEmbeddings) {
		for r := range x.Rows {
			if !hasNonZero(x.Row(r)) {
				routeTo(out, x, r, 1)
			}
		}
	}), ""},
	{"embedding-gate/update", "forgets the update", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name == "update_threshold" {
				return nil
			}
			return next(c)
		}
	}, ""},
	{"embedding-gate/weights", "adds the weights to those it has", before("set_weights", func(c *proxy.Call) {
		weights := c.Args[0].([]float32)
		for i := range weights {
			weights[i] += 1
		}
	}), ""},
	{"embedding-gate/stats", "counts text for vision", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.EmbeddingGateStats)
		s.Text, s.Vision = s.Vision, s.Text
	}), ""},
	{"embedding-gate/stats", "answers a fraction of ½ before any call", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.EmbeddingGateStats); s.Calls == 0 {
			s.VisionFraction = 0.5
		}
	}), ""},
	{"embedding-gate/dot-squish6", "takes the cosine for the dot product", before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.EmbeddingGateConfig); config.Validate() == nil {
			config.Variant, config.Threshold = spec.Documented, min(config.Threshold, 1)
			c.Args[0] = config
		}
	}), ""},
}

// onGated spoils what embeddings were gated to.
func onGated(spoil func(x spec.Matrix, out *spec.GatedEmbeddings)) proxy.Layer {
	return after("gate", func(c *proxy.Call) { spoil(c.Args[0].(spec.Matrix), c.Dst.(*spec.GatedEmbeddings)) })
}

// routeTo gives a row another route, and the mask that goes with it.
func routeTo(out *spec.GatedEmbeddings, x spec.Matrix, r int, route int32) {
	out.Route[r] = route
	clear(out.Masked.Row(r))
	if route == 1 {
		copy(out.Masked.Row(r), x.Row(r))
	}
}

// hasNonZero reports whether a row has a number that is not 0.
func hasNonZero(row []float32) bool {
	for _, v := range row {
		if v != 0 {
			return true
		}
	}
	return false
}
