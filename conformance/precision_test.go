package conformance

import (
	"bytes"
	"math"
	"reflect"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// rounded is ref with its computed results rounded to bfloat16: 8 significant
// bits, half to even.
func rounded() spec.Implementation {
	impl := proxy.Wrap(ref.Implementation(), func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			switch c.Op.Name {
			case "quantize", "forward", "compress", "decompress":
				if err == nil && c.Module != cotCompress {
					roundFloats(reflect.ValueOf(c.Dst))
				}
			}
			return err
		}
	})
	impl.Name = "bfloat16"
	return impl
}

func roundFloats(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		roundFloats(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			roundFloats(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			roundFloats(v.Field(i))
		}
	case reflect.Float32:
		bits := math.Float32bits(v.Interface().(float32))
		if x := math.Float32frombits(bits); x-x != 0 {
			return // NaN and ±Inf stay
		}
		bits += 0x7fff + bits>>16&1
		v.Set(reflect.ValueOf(math.Float32frombits(bits &^ 0xffff)))
	}
}

// TestUnitRoundoffAdmitsLowerPrecision judges results of 8 significant bits: with
// their unit roundoff declared they meet every requirement, with float32's they
// fail.
func TestUnitRoundoffAdmitsLowerPrecision(t *testing.T) {
	impl := rounded()
	modules := Modules("cot-compress", "multimodal-batch", "hierarchical-kv", "cross-doc-attn", "ternary-quant", "delta-compress")
	impl.UnitRoundoff = 0x1p-8
	report := Check(impl, modules, Shrink(0))
	for _, r := range report.Results {
		if r.Status == Failed {
			var why bytes.Buffer
			r.Explain(&why)
			t.Error(why.String())
		}
	}
	impl.UnitRoundoff = 0
	for _, id := range []string{"ternary-quant/scale", "cross-doc-attn/joined", "delta-compress/eckart-young"} {
		if result := Check(impl, Requirements(id), Shrink(0)).Results[0]; result.Status != Failed {
			t.Errorf("%s: 8 significant bits pass as float32", id)
		}
	}
}
