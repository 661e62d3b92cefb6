package conformance

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var sparseWeightMutants = []mutant{
	{"sparse-weight/lossless", "stores values as bfloat16", after("decompress", func(c *proxy.Call) { roundFloats(reflect.ValueOf(c.Dst)) }), ""},
	{"sparse-weight/lossless", "takes subnormals for zeros", after("decompress", func(c *proxy.Call) {
		for i, x := range c.Dst.(*spec.Matrix).Data {
			c.Dst.(*spec.Matrix).Data[i] = float32(math.Copysign(withoutSubnormals(x), float64(x)))
		}
	}), ""},
	{"sparse-weight/stored", "keeps the first N", onSparse(func(c spec.SparseWeightConfig, w spec.Matrix, out *spec.Matrix) {
		for i, x := range w.Data {
			if c.Format.IsNM() {
				out.Data[i] = 0
				if i%c.M < c.N {
					out.Data[i] = x
				}
			}
		}
	}), ""},
	{"sparse-weight/stored", "leaves the sign of zeros", onSparse(func(_ spec.SparseWeightConfig, w spec.Matrix, out *spec.Matrix) {
		for i, x := range w.Data {
			if out.Data[i] == 0 {
				out.Data[i] = float32(math.Copysign(0, float64(x)))
			}
		}
	}), ""},
	{"sparse-weight/fixpoint", "scales by 1 + 2⁻²⁰", after("decompress", func(c *proxy.Call) {
		for i := range c.Dst.(*spec.Matrix).Data {
			c.Dst.(*spec.Matrix).Data[i] *= 1 + 0x1p-20
		}
	}), ""},
	{"sparse-weight/fixpoint", "counts what it dropped", func(next proxy.Handler) proxy.Handler {
		var config spec.SparseWeightConfig
		dropped := 0
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case c.Op == proxy.New:
				config = c.Args[0].(spec.SparseWeightConfig)
			case c.Op.Name == "compress" && err == nil:
				dropped = 0
				for i, x := range c.Args[0].(spec.Matrix).Data {
					if x != 0 && !sparseStores(config, c.Args[0].(spec.Matrix), i) {
						dropped++
					}
				}
			case c.Op.Name == "memory_bytes":
				*c.Dst.(*int) += 4 * dropped
			}
			return err
		}
	}, ""},
	{"sparse-weight/replaced", "keeps what it has", func(next proxy.Handler) proxy.Handler {
		stored := false
		return func(c *proxy.Call) error {
			if c.Op.Name == "compress" && stored {
				return nil
			}
			err := next(c)
			stored = stored || c.Op.Name == "compress" && err == nil
			return err
		}
	}, ""},
	{"sparse-weight/bytes", "counts values of 2 bytes", after("memory_bytes", func(c *proxy.Call) { *c.Dst.(*int) /= 2 }), ""},
	{"sparse-weight/bytes", "counts a header", after("memory_bytes", func(c *proxy.Call) { *c.Dst.(*int) += 8 }), ""},
	{"sparse-weight/bytes", "answers ratio 1 before anything is stored", after("compression_ratio", func(c *proxy.Call) {
		if ratio := c.Dst.(*float64); *ratio == 0 {
			*ratio = 1
		}
	}), ""},
	{"sparse-weight/columns", "wraps columns above 32,767, as Squish 6.0.0 does", after("decompress", func(c *proxy.Call) {
		dense := c.Dst.(*spec.Matrix)
		wrapped := make([]float32, len(dense.Data))
		for i, x := range dense.Data {
			if column := int(int16(i % dense.Cols)); x != 0 {
				wrapped[i-i%dense.Cols+(column+dense.Cols)%dense.Cols] = x
			}
		}
		copy(dense.Data, wrapped)
	}), ""},
	{"sparse-weight/columns", "takes columns beyond 2 bytes", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if c.Op.Name == "compress" && c.Args[0].(spec.Matrix).Cols > 1<<16 {
				return nil
			}
			return err
		}
	}, spec.Accepted},
	{"sparse-weight/state", "decompresses to nothing before anything is stored", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if spec.KindOf(err) == spec.State {
				return nil
			}
			return err
		}
	}, ""},
	{"sparse-weight/stats", "counts refused calls", func(next proxy.Handler) proxy.Handler {
		refused := 0
		return func(c *proxy.Call) error {
			err := next(c)
			if c.Op.Name == "decompress" && err != nil {
				refused++
			}
			if c.Op.Name == "stats" {
				c.Dst.(*spec.SparseWeightStats).Decompressions += refused
			}
			return err
		}
	}, ""},
	{"sparse-weight/stats", "counts unpacking as compressing", func(next proxy.Handler) proxy.Handler {
		unpacked := 0
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case c.Op.Name == "unpack" && err == nil:
				unpacked++
			case c.Op.Name == "stats":
				c.Dst.(*spec.SparseWeightStats).Compressions += unpacked
			}
			return err
		}
	}, ""},
	{"sparse-weight/product", "rounds to bfloat16", after("multiply", func(c *proxy.Call) { roundFloats(reflect.ValueOf(c.Dst)) }), ""},
	{"sparse-weight/product", "leaves the last column out", before("multiply", func(c *proxy.Call) {
		if x := c.Args[0].([]float32); len(x) > 0 {
			x[len(x)-1] = 0
		}
	}), ""},
	{"sparse-weight/layout", "writes values most significant byte first", after("pack", func(c *proxy.Call) {
		packed := *c.Dst.(*[]uint8)
		value := packed[max(len(packed)-4, 0):]
		slices.Reverse(value)
	}), ""},
	{"sparse-weight/layout", "writes a header", after("pack", func(c *proxy.Call) {
		packed := c.Dst.(*[]uint8)
		*packed = append(binary.LittleEndian.AppendUint32(nil, 1), *packed...)
	}), ""},
	{"sparse-weight/round-trip", "loses the last sign", before("unpack", func(c *proxy.Call) {
		if packed := c.Args[0].([]uint8); len(packed) > 0 {
			packed[len(packed)-1] &= 0x7f
		}
	}), ""},
	{"sparse-weight/foreign", "keeps what it has where bytes are foreign", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if c.Op.Name == "unpack" {
				return nil
			}
			return err
		}
	}, ""},
	{"sparse-weight/foreign", "ignores a surplus byte", unpackSparseAgain(func(packed []uint8) []uint8 { return packed[:len(packed)-1] }), ""},
	{"sparse-weight/foreign", "takes the last exponent bit from values that are not finite", unpackSparseAgain(func(packed []uint8) []uint8 {
		for i := len(packed); i >= 4; i -= 4 {
			if packed[i-1]&0x7f == 0x7f {
				packed[i-2] &= 0x7f
			}
		}
		return packed
	}), ""},
}

// unpackSparseAgain has another try at bytes that were refused.
func unpackSparseAgain(change func(packed []uint8) []uint8) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if err == nil || c.Op.Name != "unpack" || len(c.Args[0].([]uint8)) == 0 {
				return err
			}
			own := *c
			own.Args = clone(c.Args).([]any)
			own.Args[0] = change(own.Args[0].([]uint8))
			return next(&own)
		}
	}
}

// onSparse spoils what was decompressed, knowing config and weights.
func onSparse(spoil func(c spec.SparseWeightConfig, w spec.Matrix, out *spec.Matrix)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.SparseWeightConfig
		var weights spec.Matrix
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case err != nil:
			case c.Op == proxy.New:
				config = c.Args[0].(spec.SparseWeightConfig)
			case c.Op.Name == "compress":
				weights = cloneAs(c.Args[0].(spec.Matrix))
			case c.Op.Name == "decompress":
				spoil(config, weights, c.Dst.(*spec.Matrix))
			}
			return err
		}
	}
}
