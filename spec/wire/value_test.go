package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

// sameBits compares floats bit for bit and Heads whatever their stride; nil and
// empty slices are told apart by their own tests.
var sameBits = cmp.Options{
	cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Transformer("dense", func(x spec.Heads) []any {
		rows := []any{x.Heads, x.Tokens, x.Dim}
		for h := range x.Heads {
			rows = append(rows, x.Head(h).Data)
		}
		return rows
	}),
	cmpopts.EquateEmpty(),
}

var float32s = rapid.OneOf(rapid.Float32(), rapid.Map(rapid.Uint32(), math.Float32frombits),
	rapid.SampledFrom([]float32{float32(math.Copysign(0, -1)), float32(math.Inf(-1)), math.Float32frombits(0x7f800001), math.Float32frombits(0xffc12345)}))

var float64s = rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.Copysign(0, -1), math.Inf(1), 5e-324, math.MaxFloat64}))

// draw sets v to a value of its type.
func draw(t *rapid.T, v reflect.Value) {
	axis := rapid.IntRange(0, 3)
	switch v.Type() {
	case reflect.TypeFor[spec.Matrix]():
		m := spec.Matrix{Rows: axis.Draw(t, "rows"), Cols: axis.Draw(t, "cols")}
		m.Data = rapid.SliceOfN(float32s, m.Rows*m.Cols, m.Rows*m.Cols).Draw(t, "data")
		v.Set(reflect.ValueOf(m))
		return
	case reflect.TypeFor[spec.Heads]():
		x := spec.Heads{Heads: axis.Draw(t, "heads"), Tokens: axis.Draw(t, "tokens"), Dim: axis.Draw(t, "dim")}
		x.Stride = x.Tokens*x.Dim + axis.Draw(t, "room")
		x.Data = rapid.SliceOfN(float32s, x.Heads*x.Stride, x.Heads*x.Stride).Draw(t, "data")
		v.Set(reflect.ValueOf(x))
		return
	}
	if v.Type() == reflect.TypeFor[spec.Tensor]() {
		x := spec.Tensor{Shape: rapid.SliceOfN(axis, 0, 3).Draw(t, "shape")}
		n, _ := spec.Volume(x.Shape...)
		x.Data = rapid.SliceOfN(float32s, n, n).Draw(t, "data")
		v.Set(reflect.ValueOf(x))
		return
	}
	switch {
	case v.Kind() == reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case v.Kind() == reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case v.CanInt():
		shift := 64 - v.Type().Bits()
		v.SetInt(rapid.Int64().Draw(t, "int") << shift >> shift)
	case v.CanUint():
		shift := 64 - v.Type().Bits()
		v.SetUint(rapid.Uint64().Draw(t, "uint") << shift >> shift)
	case v.Kind() == reflect.Float32:
		v.Set(reflect.ValueOf(float32s.Draw(t, "float")))
	case v.CanFloat():
		v.SetFloat(float64s.Draw(t, "float"))
	case v.Kind() == reflect.Slice:
		n := axis.Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		seen := map[any]bool{} // keys stand for themselves
		kept := 0
		for i := range n {
			draw(t, v.Index(i))
			if isKeyed(v.Type().Elem()) {
				key := v.Index(i).Field(formOf(v.Type().Elem()).key).Interface()
				if seen[key] {
					continue
				}
				seen[key] = true
			}
			v.Index(kept).Set(v.Index(i))
			kept++
		}
		v.SetLen(kept)
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range axis.Draw(t, "entries") {
			key, item := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			draw(t, key)
			draw(t, item)
			v.SetMapIndex(key, item)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			draw(t, v.Field(i))
		}
		if form := formOf(v.Type()); form.presence >= 0 && !v.Field(form.presence).Bool() {
			v.SetZero() // the rest does not travel
		}
	default:
		t.Fatalf("no generator of %v", v.Type())
	}
}

// perOperation runs a property for every operation of every module.
func perOperation(t *testing.T, property func(*rapid.T, *spec.Module, *spec.Operation)) {
	for _, m := range spec.Modules() {
		for i := range m.Operations {
			t.Run(m.Name+"/"+m.Operations[i].Name, func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { property(t, m, &m.Operations[i]) })
			})
		}
	}
}

// sent is a value as it arrives: its tensors written in a frame and read.
func sent(t *rapid.T, m *spec.Module, e *Encoder) *Decoder {
	frame, err := Read(bytes.NewReader(mustBytes(t, &Frame{Tensors: e.Tensors})))
	if err != nil {
		t.Fatal(err)
	}
	return &Decoder{Module: m, Tensors: frame.Tensors}
}

func TestArgumentsComeBack(t *testing.T) {
	perOperation(t, func(t *rapid.T, m *spec.Module, op *spec.Operation) {
		var args []any
		for i, p := range op.Args {
			v := reflect.New(op.ArgType(i)).Elem()
			if !p.Optional || rapid.Bool().Draw(t, "present") {
				draw(t, v)
			}
			args = append(args, v.Interface())
		}
		e := Encoder{Prefix: "7."}
		raw, err := e.EncodeArgs(op, args)
		if err != nil {
			t.Fatal(err)
		}
		got, shapes, err := sent(t, m, &e).DecodeArgs(op, raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(args, got, sameBits); len(args) > 0 && diff != "" {
			t.Fatalf("%s: %s", raw, diff)
		}
		for i, p := range op.Args {
			if reflect.TypeOf(got[i]) != op.ArgType(i) {
				t.Fatalf("%s is a %T, want a %v", p.Name, got[i], op.ArgType(i))
			}
			if v := reflect.ValueOf(args[i]); p.Optional && v.Kind() == reflect.Slice && v.IsNil() != reflect.ValueOf(got[i]).IsNil() {
				t.Fatalf("%s: %#v became %#v: none and empty differ", p.Name, args[i], got[i])
			}
			if want := flatShape(args[i]); p.AnyShape && !cmp.Equal(shapes[p.Name], want) {
				t.Fatalf("%s has the shape %v on the wire, want %v", p.Name, shapes[p.Name], want)
			}
		}
	})
}

// flatShape is the shape that an argument of any shape has on the wire where nobody
// says another.
func flatShape(arg any) []int {
	if m, ok := arg.(spec.Matrix); ok {
		return []int{m.Rows, m.Cols}
	}
	if v := reflect.ValueOf(arg); v.Kind() == reflect.Slice && dtypeOf(v.Type().Elem()) != "" {
		return []int{v.Len()}
	}
	return nil // as of a list
}

func TestResultsComeBack(t *testing.T) {
	perOperation(t, func(t *rapid.T, m *spec.Module, op *spec.Operation) {
		var e Encoder
		result := op.NewResult()
		if result != nil {
			draw(t, reflect.ValueOf(result).Elem())
		}
		raw, err := e.EncodeResult(op, result, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := op.NewResult()
		if err := sent(t, m, &e).DecodeResult(op, raw, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(result, got, sameBits); diff != "" {
			t.Fatalf("%s: %s", raw, diff)
		}
	})
}

func TestConfigsComeBack(t *testing.T) {
	for _, m := range spec.Modules() {
		t.Run(m.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				config := reflect.New(reflect.TypeOf(m.Config)).Elem()
				draw(t, config)
				var e Encoder
				raw, err := e.EncodeConfig(config.Interface())
				if err != nil {
					t.Fatal(err)
				}
				got, err := sent(t, m, &e).DecodeConfig(raw)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(config.Interface(), got, sameBits); diff != "" {
					t.Fatalf("%s: %s", raw, diff)
				}
			})
		})
	}
}

// TestZeroConfigsComeBack: what is empty does not turn into a default that is not.
func TestZeroConfigsComeBack(t *testing.T) {
	for _, m := range spec.Modules() {
		config := reflect.Zero(reflect.TypeOf(m.Config)).Interface()
		var e Encoder
		raw, err := e.EncodeConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&Decoder{Module: m, Tensors: e.Tensors}).DecodeConfig(raw)
		if diff := cmp.Diff(config, got, sameBits); err != nil || diff != "" {
			t.Errorf("%s: %s: %v %s", m.Name, raw, err, diff)
		}
	}
}

func TestMissingConfigFieldsTakeTheirDefaults(t *testing.T) {
	for _, m := range spec.Modules() {
		for _, raw := range []string{"", "null", "{}"} {
			got, err := (&Decoder{Module: m}).DecodeConfig(json.RawMessage(raw))
			if diff := cmp.Diff(m.Config, got); err != nil || diff != "" {
				t.Errorf("%s of %q: %v %s", m.Name, raw, err, diff)
			}
		}
	}
	d := Decoder{Module: spec.ModuleByName("modality-router")}
	got, err := d.DecodeConfig(json.RawMessage(`{"policies":[{"modality":"depth","max_concurrent":7,"priority":null}]}`))
	policy := spec.DefaultModalityPolicy("depth")
	policy.MaxConcurrent = 7
	if diff := cmp.Diff(spec.ModalityRouterConfig{Policies: []spec.ModalityPolicy{policy}}, got); err != nil || diff != "" {
		t.Errorf("the rest of a policy does not take its defaults: %v %s", err, diff)
	}
	d = Decoder{Module: spec.ModuleByName("cross-doc-attn")}
	got, err = d.DecodeConfig(json.RawMessage(`{"head_dim":16}`))
	if want := spec.DefaultCrossDocAttnConfig(16); err != nil || got != want || want.SoftmaxScale != 0.25 {
		t.Errorf("the default of softmax_scale does not follow head_dim: %v, %v", got, err)
	}
	got, err = d.DecodeConfig(json.RawMessage(`{"softmax_scale":3,"head_dim":16}`))
	if want := spec.DefaultCrossDocAttnConfig(16); err != nil || got.(spec.CrossDocAttnConfig).SoftmaxScale != 3 || got == want {
		t.Errorf("a softmax_scale that is given is not taken: %v, %v", got, err)
	}
}

func TestEncodingsAreThose(t *testing.T) {
	op := func(module, name string) *spec.Operation { return spec.ModuleByName(module).Operation(name) }
	var e Encoder
	for want, encode := range map[string]func() (json.RawMessage, error){
		`{"zero_threshold":0.05}`: func() (json.RawMessage, error) {
			return e.EncodeConfig(spec.TernaryQuantConfig{ZeroThreshold: 0.05})
		},
		`{"format":"","N":1,"M":2}`: func() (json.RawMessage, error) {
			return e.EncodeConfig(spec.SparseWeightConfig{N: 1, M: 2})
		},
		`{"n_experts":8,"top_k":2,"hidden_dim":256,"load_balance_weight":0.01,"capacity_factor":0,"seed":0}`: func() (json.RawMessage, error) {
			return e.EncodeConfig(spec.DefaultSparseMoEConfig())
		},
		`{"token_ids":{"tensor":"0.token_ids"},"query_ids":null}`: func() (json.RawMessage, error) {
			return e.EncodeArgs(op("cot-compress", "compress"), []any{[]int64(nil), []int64(nil)})
		},
		`{"kv":null}`: func() (json.RawMessage, error) {
			return e.EncodeResult(op("hierarchical-kv", "get"), &spec.KVLookup{}, nil)
		},
		`{"kv":[{"tensor":"0.kv.0"},{"tensor":"0.kv.1"}]}`: func() (json.RawMessage, error) {
			return e.EncodeResult(op("hierarchical-kv", "get"), &spec.KVLookup{Hit: true}, nil)
		},
		`{"batch":[]}`: func() (json.RawMessage, error) {
			return e.EncodeResult(op("multimodal-batch", "next_batch"), new([]spec.BatchSlot), nil)
		},
		`{"batch":[{"req_id":9007199254740993,"modality":"text","text_len":1,"vision_tokens":0}]}`: func() (json.RawMessage, error) {
			return e.EncodeResult(op("multimodal-batch", "next_batch"), &[]spec.BatchSlot{{ID: 1<<53 + 1, Modality: spec.Text, TextLen: 1}}, nil)
		},
		`{"pending_text":3}`: func() (json.RawMessage, error) {
			n := 3
			return e.EncodeResult(op("multimodal-batch", "pending_text"), &n, nil)
		},
		`{"ratio":{"tensor":"0.ratio"}}`: func() (json.RawMessage, error) {
			x := math.Inf(1)
			return e.EncodeResult(op("delta-compress", "compression_ratio"), &x, nil)
		},
		`{"policies":[{"modality":"a","target_latency_ms":{"tensor":"0.policies.0.target_latency_ms"},"max_concurrent":0,"priority":0}]}`: func() (json.RawMessage, error) {
			return e.EncodeConfig(spec.ModalityRouterConfig{Policies: []spec.ModalityPolicy{{Modality: "a", TargetLatencyMS: math.Inf(1)}}})
		},
		`{"active":{"a":1,"b":2}}`: func() (json.RawMessage, error) {
			return e.EncodeResult(op("modality-router", "active_counts"), &map[spec.Modality]int{"b": 2, "a": 1}, nil)
		},
		`{}`: func() (json.RawMessage, error) { return e.EncodeResult(op("hierarchical-kv", "put"), nil, nil) },
		`{"codes":{"tensor":"0.codes"},"indices":{"tensor":"0.indices"},"values":{"tensor":"0.values"},"rows":1,"cols":1}`: func() (json.RawMessage, error) {
			return e.EncodeArgs(op("zero-quant-v2", "restore"), []any{[]uint8{1}, []int32{0}, []spec.Float16{0x3c00}, 1, 1})
		},
	} {
		e = Encoder{Prefix: "0."}
		if got, err := encode(); err != nil || string(got) != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
	}
}

func TestFloat16TravelsAsF16(t *testing.T) {
	var e Encoder
	_, err := e.EncodeArgs(spec.ModuleByName("zero-quant-v2").Operation("restore"), []any{[]uint8(nil), []int32(nil), []spec.Float16{0x3c00, 0xfbff}, 1, 1})
	want := Tensor{"values", F16, []int{2}, []byte{0x00, 0x3c, 0xff, 0xfb}}
	if diff := cmp.Diff(want, e.Tensors[2]); err != nil || diff != "" {
		t.Errorf("1 and −65504: %v, %s", err, diff)
	}
}

func TestResultsTakeTheirArgumentsShape(t *testing.T) {
	m := spec.ModuleByName("ternary-quant")
	d := &Decoder{Module: m, Tensors: []Tensor{{"a", I8, []int{2, 1, 2}, make([]byte, 4)}, {"w", F32, []int{2, 2}, make([]byte, 16)}}}
	for name, arg := range map[string]string{"quantize": `{"weights":{"tensor":"w"}}`, "dequantize": `{"ternary_weights":{"tensor":"a"},"scale":1}`} {
		op := m.Operation(name)
		_, shapes, err := d.DecodeArgs(op, json.RawMessage(arg))
		if err != nil {
			t.Fatal(err)
		}
		var e Encoder
		result := any(&spec.TernaryWeights{Codes: make([]int8, 4)})
		want := []int{2, 2}
		if name == "dequantize" {
			result, want = &[]float32{0, 0, 0, 0}, []int{2, 1, 2}
		}
		raw, err := e.EncodeResult(op, result, shapes)
		if err != nil || !cmp.Equal(e.Tensors[0].Shape, want) {
			t.Errorf("%s: shape %v (%v), want %v", name, e.Tensors[0].Shape, err, want)
		}
		if err := (&Decoder{Module: m, Tensors: e.Tensors}).DecodeResult(op, raw, op.NewResult()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var e Encoder
	if _, err := e.EncodeResult(m.Operation("dequantize"), &[]float32{1}, map[string][]int{"ternary": {2, 2}}); err != nil || !cmp.Equal(e.Tensors[0].Shape, []int{1}) {
		t.Errorf("a result of another volume has shape %v (%v), want [1]", e.Tensors[0].Shape, err)
	}
}

// A matrix has the leading axes of the argument that it is like folded into its
// rows; the wire restores them.
func TestMatricesTakeTheirArgumentsShape(t *testing.T) {
	m := spec.ModuleByName("structured-prune")
	op := m.Operation("prune")
	for _, c := range []struct{ like, want []int }{
		{[]int{2, 1, 4}, []int{2, 1, 4}},
		{[]int{8}, []int{2, 4}},      // rows of another length
		{[]int{3, 4}, []int{2, 4}},   // another volume
		{[]int{0, 4}, []int{2, 4}},   // none
		{nil, []int{2, 4}},           // no shape
		{[]int{-2, -4}, []int{2, 4}}, // no shape either
		{[]int{1, 2, 4}, []int{1, 2, 4}},
	} {
		var e Encoder
		result := &spec.PrunedWeights{Pruned: spec.Matrix{Rows: 2, Cols: 4, Data: make([]float32, 8)}, Mask: make([]bool, 8)}
		raw, err := e.EncodeResult(op, result, map[string][]int{"weights": c.like})
		if err != nil || !cmp.Equal(e.Tensors[0].Shape, c.want) {
			t.Errorf("like %v: shape %v (%v), want %v", c.like, e.Tensors[0].Shape, err, c.want)
		}
		got := new(spec.PrunedWeights)
		if err := (&Decoder{Module: m, Tensors: e.Tensors}).DecodeResult(op, raw, got); err != nil || !cmp.Equal(got, result) {
			t.Errorf("like %v: got %v (%v)", c.like, got, err)
		}
	}
}

func TestMissingArgumentsTakeTheirDefaults(t *testing.T) {
	m := spec.ModuleByName("layer-fusion")
	d := Decoder{Module: m, Tensors: []Tensor{{"a", F32, []int{1}, make([]byte, 4)}, {"b", F32, []int{1}, make([]byte, 4)}}}
	for raw, want := range map[string]float64{``: spec.DefaultFusionWeight, `,"w":null`: spec.DefaultFusionWeight, `,"w":0`: 0} {
		args, _, err := d.DecodeArgs(m.Operation("fuse"), json.RawMessage(`{"weights_a":{"tensor":"a"},"weights_b":{"tensor":"b"}`+raw+`}`))
		if err != nil || args[2] != want {
			t.Errorf("%q: got %v (%v), want w = %v", raw, args, err, want)
		}
	}
}

func TestTensorsOfAListHaveAnyShape(t *testing.T) {
	m := spec.ModuleByName("layer-fusion")
	d := Decoder{Module: m, Tensors: []Tensor{{"a", F32, []int{2, 2}, make([]byte, 16)}, {"b", F32, []int{4}, make([]byte, 16)}}}
	args, _, err := d.DecodeArgs(m.Operation("plan_fusions"), json.RawMessage(`{"layers":[{"tensor":"a"},{"tensor":"b"}]}`))
	if want := [][]float32{make([]float32, 4), make([]float32, 4)}; err != nil || !cmp.Equal(args[0], any(want)) {
		t.Errorf("got %v (%v), want %v", args, err, want)
	}
}

func TestKeyedListsAreObjectsInOrder(t *testing.T) {
	m := spec.ModuleByName("model-surgery")
	plan := spec.SurgeryPlan{LayersToRemove: spec.Indices{5, 0}, HeadsToPrune: []spec.LayerHeads{{Layer: 10, Heads: spec.Indices{2, 1}}, {Layer: 9}}, NLayers: 12, NHeads: 4, HeadDim: 1}
	weights := []spec.NamedTensor{
		{Name: "b", Tensor: spec.Tensor{Shape: []int{1}, Data: []float32{1}}},
		{Name: "a.x", Tensor: spec.Tensor{Data: []float32{2}}},
		{Name: "", Tensor: spec.Tensor{Shape: []int{0, 2}}},
	}
	e := Encoder{Prefix: "3."}
	raw, err := e.EncodeArgs(m.Operation("apply"), []any{plan, weights, true})
	want := `{"plan":{"layers_to_remove":[5,0],"heads_to_prune":{"10":[2,1],"9":[]},"n_layers":12,"n_heads":4,"head_dim":1},` +
		`"weight_dict":{"b":{"tensor":"3.weight_dict.b"},"a.x":{"tensor":"3.weight_dict.a.x"},"":{"tensor":"3.weight_dict."}},"renumber":true}`
	if err != nil || string(raw) != want {
		t.Fatalf("got %s (%v), want %s", raw, err, want)
	}
	args, _, err := (&Decoder{Module: m, Tensors: e.Tensors}).DecodeArgs(m.Operation("apply"), raw)
	if diff := cmp.Diff([]any{plan, weights, true}, args, sameBits); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestWhatIsNoKeyedListIsInvalid(t *testing.T) {
	m := spec.ModuleByName("model-surgery")
	estimate := m.Operation("estimate_reduction")
	for _, heads := range []string{`[]`, `null`, `{"01":[]}`, `{"+1":[]}`, `{"x":[]}`, `{"":[]}`, `{"1.0":[]}`, `{"9223372036854775808":[]}`, `{"1":null}`, `{"1":[0.5]}`, `{"1":{"tensor":"t"}}`, `{"1":[],"1":[]}`} {
		raw := `{"plan":{"layers_to_remove":[],"heads_to_prune":` + heads + `,"n_layers":2,"n_heads":2,"head_dim":1}}`
		d := Decoder{Module: m, Tensors: []Tensor{{"t", I64, []int{1}, make([]byte, 8)}}}
		if args, _, err := d.DecodeArgs(estimate, json.RawMessage(raw)); !errors.Is(err, spec.Invalid) {
			t.Errorf("heads_to_prune %s: got %v (%v), want it refused", heads, args, err)
		}
	}
	one := spec.Tensor{Data: []float32{1}}
	for what, weights := range map[string][]spec.NamedTensor{
		"a name twice":       {{Name: "a", Tensor: one}, {Name: "a", Tensor: one}},
		"a name of no UTF-8": {{Name: "\xff", Tensor: one}},
		"no tensor":          {{Name: "a"}},
		"a shape of less":    {{Name: "a", Tensor: spec.Tensor{Shape: []int{0}, Data: one.Data}}},
	} {
		var e Encoder
		if raw, err := e.EncodeArgs(m.Operation("apply"), []any{spec.SurgeryPlan{}, weights, false}); !errors.Is(err, spec.Invalid) {
			t.Errorf("%s: got %s (%v), want it refused", what, raw, err)
		}
	}
}

// A recording writes no field that its program did not have.
func TestZeroFieldsMayBeMissing(t *testing.T) {
	m := spec.ModuleByName("model-surgery")
	result := spec.SurgeryResult{NewWeights: []spec.NamedTensor{{Name: "x"}}, TrueParamReduction: 1}
	err := (&Decoder{Module: m}).DecodeResult(m.Operation("apply"), json.RawMessage(`{"result":{"layers_removed":1,"heads_pruned":2,"estimated_param_reduction":0.5}}`), &result)
	if want := (spec.SurgeryResult{TensorsRemoved: 1, HeadsPruned: 2, EstimatedParamReduction: 0.5}); err != nil || !cmp.Equal(result, want) {
		t.Errorf("got %v (%v), want %v", result, err, want)
	}
	err = (&Decoder{Module: m}).DecodeResult(m.Operation("apply"), json.RawMessage(`{"result":{"layers_removed":1,"heads_pruned":2}}`), &result)
	if !errors.Is(err, spec.Invalid) {
		t.Errorf("a field that is always written is missing: got %v", err)
	}
}

func TestResultsTakeTheShapeOfAMatrixBesideThem(t *testing.T) {
	route := spec.ModuleByName("sparse-moe").Operation("route")
	result := &spec.MoERouting{Indices: make([]int32, 6), Weights: spec.Matrix{Rows: 2, Cols: 3, Data: make([]float32, 6)}}
	var e Encoder
	// The argument has the same volume, and another shape.
	if _, err := e.EncodeResult(route, result, map[string][]int{"hidden_states": {6, 1}}); err != nil || !cmp.Equal(e.Tensors[0].Shape, []int{2, 3}) {
		t.Errorf("%s has the shape %v (%v), want [2 3]", e.Tensors[0].Name, e.Tensors[0].Shape, err)
	}
}

// numbers16 are numbers that every float dtype holds.
var numbers16 = []float64{0, math.Copysign(0, -1), 1, -1.5, 0x1p-14, math.Inf(1), math.Inf(-1)}

func TestFloatsConvertBetweenDTypes(t *testing.T) {
	f16 := []uint16{0, 0x8000, 0x3c00, 0xbe00, 0x0400, 0x7c00, 0xfc00}
	tensors := []Tensor{{"f64", F64, []int{7}, nil}, {"f32", F32, []int{7}, nil}, {"f16", F16, []int{7}, nil}, {"bf16", BF16, []int{7}, nil}}
	for i, x := range numbers16 {
		tensors[0].Data = binary.LittleEndian.AppendUint64(tensors[0].Data, math.Float64bits(x))
		tensors[1].Data = binary.LittleEndian.AppendUint32(tensors[1].Data, math.Float32bits(float32(x)))
		tensors[2].Data = binary.LittleEndian.AppendUint16(tensors[2].Data, f16[i])
		tensors[3].Data = binary.LittleEndian.AppendUint16(tensors[3].Data, uint16(math.Float32bits(float32(x))>>16))
	}
	m := spec.ModuleByName("ternary-quant")
	for _, x := range tensors {
		d := Decoder{Module: m, Tensors: tensors}
		args, _, err := d.DecodeArgs(m.Operation("quantize"), json.RawMessage(`{"weights":{"tensor":"`+x.Name+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range args[0].([]float32) {
			if math.Float32bits(got) != math.Float32bits(float32(numbers16[i])) {
				t.Errorf("%s: got %v, want %v", x.DType, got, numbers16[i])
			}
		}
	}
}

// Every binary16 is compared with its definition.
func TestEveryFloat16(t *testing.T) {
	for bits := range 1 << 16 {
		sign, exponent, fraction := 1-2*float64(bits>>15), bits>>10&31, float64(bits&1023)/1024
		want := sign * (1 + fraction) * math.Pow(2, float64(exponent-15))
		switch {
		case exponent == 0:
			want = sign * fraction * math.Pow(2, -14)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		got := float16(uint16(bits))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || want == 0 && math.Signbit(got) != (bits>>15 == 1) {
			t.Fatalf("%#04x: got %v, want %v", bits, got, want)
		}
	}
}

func TestWhatDoesNotFitIsInvalid(t *testing.T) {
	tensors := []Tensor{
		{"f32", F32, []int{2}, make([]byte, 8)}, {"huge", F64, []int{1}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300))},
		{"scalar", F32, []int{}, make([]byte, 4)}, {"i64", I64, []int{1}, binary.LittleEndian.AppendUint64(nil, 200)},
		{"i64x2", I64, []int{1, 2}, make([]byte, 16)}, {"m", F32, []int{1, 1}, make([]byte, 4)}, {"m3", F32, []int{1, 1, 1}, make([]byte, 4)},
		{"bool", Bool, []int{1}, []byte{1}}, {"int", I32, []int{}, make([]byte, 4)}, {"short", F32, []int{2}, make([]byte, 4)}, {"f8", "F8", []int{1}, make([]byte, 1)},
		{"u8", U8, []int{1}, []byte{1}},
	}
	const quantize, compress, put, forward, add = "ternary-quant/quantize", "cot-compress/compress", "hierarchical-kv/put", "cross-doc-attn/forward", "multimodal-batch/add_request"
	request := func(field, value string) string {
		fields := map[string]json.RawMessage{"req_id": json.RawMessage("1"), "modality": json.RawMessage(`"text"`), "text_len": json.RawMessage("1"), "vision_tokens": json.RawMessage("0")}
		fields[field] = json.RawMessage(value)
		text := []string{}
		for k, v := range fields {
			text = append(text, fmt.Sprintf("%q:%s", k, v))
		}
		return "{" + strings.Join(text, ",") + "}"
	}
	for _, c := range []struct{ op, raw, name string }{
		{quantize, `[]`, "args"}, {quantize, `{`, "args"}, {quantize, `{} {}`, "args"}, {quantize, "{\"\xff\":1}", "args"},
		{quantize, `{"weights":{"tensor":"f32"},"weights":{"tensor":"f32"}}`, "args"},
		{quantize, `{"weights":{"tensor":"f32","tensor":"f32"}}`, "args"},
		{quantize, `{"weights":{"tensor":"f32"},"\ud800":1}`, "args"},
		{quantize, `{}`, "weights"}, {quantize, `{"weights":null}`, "weights"}, {quantize, `{"weights":[1,2]}`, "weights"},
		{quantize, `{"weights":{"tensor":"none"}}`, "weights"}, {quantize, `{"weights":{"tensor":1}}`, "weights"},
		{quantize, `{"weights":{"tensor":"f32","x":1}}`, "weights"}, {quantize, `{"weights":{"tensor":"i64"}}`, "weights"},
		{quantize, `{"weights":{"tensor":"huge"}}`, "weights"}, {quantize, `{"weights":{"tensor":"short"}}`, "weights"},
		{quantize, `{"weights":{"tensor":"f8"}}`, "weights"}, {quantize, `{"weights":{"tensor":"f32"},"x":1}`, "x"},
		{"ternary-quant/dequantize", `{"ternary":{"tensor":"i64"},"scale":1}`, "ternary"},
		{"ternary-quant/dequantize", `{"ternary":{"tensor":"bool"},"scale":1}`, "ternary"},
		{"ternary-quant/dequantize", `{"ternary":{"tensor":"int"},"scale":1e39}`, "scale"},
		{"ternary-quant/dequantize", `{"ternary":{"tensor":"int"},"scale":"1"}`, "scale"},
		{"ternary-quant/dequantize", `{"ternary":{"tensor":"int"},"scale":NaN}`, "args"},
		{"ternary-quant/dequantize", `{"ternary":{"tensor":"int"},"ternary_weights":{"tensor":"i64"},"scale":1}`, "ternary_weights"},
		{"zero-quant-v2/restore", `{"codes":{"tensor":"bool"},"indices":{"tensor":"i64"}}`, "codes"},
		{"zero-quant-v2/restore", `{"codes":{"tensor":"u8"},"indices":{"tensor":"i64"},"values":{"tensor":"f32"}}`, "values"},
		{compress, `{"token_ids":{"tensor":"i64x2"}}`, "token_ids"}, {compress, `{"token_ids":{"tensor":"f32"}}`, "token_ids"},
		{put, `{"pos":1,"key":{"tensor":"f32"},"value":{"tensor":"m"}}`, "key"}, {put, `{"pos":1,"key":{"tensor":"m"},"value":{"tensor":"m3"}}`, "value"},
		{put, `{"pos":1,"key":{"tensor":"m"},"value":{"tensor":"m"}}`, "value"},
		{put, `{"pos":{"tensor":"scalar"},"key":{"tensor":"m"},"value":{"tensor":"m"}}`, "pos"},
		{put, `{"pos":{"tensor":"i64"},"key":{"tensor":"m"},"value":{"tensor":"m"}}`, "pos"},
		{forward, `{"query":{"tensor":"m"},"doc_keys":[],"doc_values":[]}`, "query"}, {forward, `{"query":{"tensor":"m3"},"doc_keys":null,"doc_values":[]}`, "doc_keys"},
		{forward, `{"query":{"tensor":"m3"},"doc_keys":[{"tensor":"m"}],"doc_values":[]}`, "doc_keys[0]"},
		{forward, `{"query":{"tensor":"m3"},"doc_keys":[{"tensor":"m3"}],"doc_values":[]}`, "doc_keys[0]"},
		{add, request("req_id", "1.0"), "req_id"}, {add, request("req_id", "1e2"), "req_id"}, {add, request("req_id", "9223372036854775808"), "req_id"},
		{add, request("req_id", `"1"`), "req_id"}, {add, request("req_id", `true`), "req_id"}, {add, request("req_id", `null`), "req_id"},
		{add, request("modality", `1`), "modality"}, {add, request("modality", `null`), "modality"},
	} {
		module, name, _ := strings.Cut(c.op, "/")
		m := spec.ModuleByName(module)
		args, _, err := (&Decoder{Module: m, Tensors: tensors}).DecodeArgs(m.Operation(name), json.RawMessage(c.raw))
		if !errors.Is(err, spec.Invalid) || !strings.HasPrefix(err.Error(), module+": "+c.name+": want ") {
			t.Errorf("%s of %s: got %v, error %v, want an invalid %s", c.op, c.raw, args, err, c.name)
		}
	}
	for _, c := range []struct{ op, raw, name string }{
		{compress, `{}`, "kept"}, {compress, `{"kept":{"tensor":"i64x2"}}`, "kept"}, {compress, `{"kept":{"tensor":"f32"}}`, "kept"},
		{"delta-compress/decompress", `{"delta":{"tensor":"m3"}}`, "delta"}, {quantize, `{"scale":1,"x":2}`, "x"}, {put, `{"x":1}`, "x"},
		{"multimodal-batch/next_batch", `{"batch":[{"req_id":1}]}`, "batch[0].modality"}, {"multimodal-batch/next_batch", `{"batch":null}`, "batch"},
		{"hierarchical-kv/get", `{"kv":[{"tensor":"m"}]}`, "kv"}, {"hierarchical-kv/get", `{"kv":{}}`, "kv"},
	} {
		module, name, _ := strings.Cut(c.op, "/")
		m := spec.ModuleByName(module)
		op := m.Operation(name)
		if err := (&Decoder{Module: m, Tensors: tensors}).DecodeResult(op, json.RawMessage(c.raw), op.NewResult()); !errors.Is(err, spec.Invalid) ||
			!strings.HasPrefix(err.Error(), module+": "+c.name+": want ") {
			t.Errorf("result of %s, %s: error %v, want an invalid %s", c.op, c.raw, err, c.name)
		}
	}
	for _, raw := range []string{`{"alpha":0.1,"alpha":0.2}`, `{"alfa":1}`, `{"min_tokens":1.5}`, `{"variant":"\ud800"}`, `[]`, `{"separators":[1]}`} {
		if config, err := (&Decoder{Module: spec.ModuleByName("cot-compress")}).DecodeConfig(json.RawMessage(raw)); config != nil && err == nil || !errors.Is(err, spec.Invalid) {
			t.Errorf("config %s: got %v, error %v, want an invalid one", raw, config, err)
		}
	}
}

func TestScalarsFromTensors(t *testing.T) {
	m := spec.ModuleByName("ternary-quant")
	nan := math.Float32frombits(0x7f800001)
	d := Decoder{Module: m, Tensors: []Tensor{
		{"nan", F32, []int{}, binary.LittleEndian.AppendUint32(nil, math.Float32bits(nan))},
		{"inf", F64, []int{}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.Inf(-1)))},
		{"n", I8, []int{}, []byte{7}}, {"u", U8, []int{1}, []byte{0}}, {"c", I8, []int{}, []byte{0}},
	}}
	for name, want := range map[string]float32{"nan": nan, "inf": float32(math.Inf(-1))} {
		args, _, err := d.DecodeArgs(m.Operation("dequantize"), json.RawMessage(`{"ternary":{"tensor":"c"},"scale":{"tensor":"`+name+`"}}`))
		if err != nil || math.Float32bits(args[1].(float32)) != math.Float32bits(want) {
			t.Errorf("%s: got %v (%v), want %v bit for bit", name, args, err, want)
		}
	}
	args, _, err := d.DecodeArgs(m.Operation("unpack_base3"), json.RawMessage(`{"packed":{"tensor":"u"},"n":{"tensor":"n"}}`))
	if err != nil || args[1] != 7 {
		t.Errorf("got %v (%v), want 7", args, err)
	}
}

func TestBoolsFromBytes(t *testing.T) {
	for dtype, want := range map[DType]bool{Bool: true, U8: true, I8: false, F32: false} {
		var got []bool
		x := &Tensor{"b", dtype, []int{2}, append([]byte{0, 1}, make([]byte, 2*dtype.Size()-2)...)}
		err := (&Decoder{Module: spec.Modules()[0]}).numbers("b", x, reflect.ValueOf(&got).Elem())
		if (err == nil) != want || want && !cmp.Equal(got, []bool{false, true}) {
			t.Errorf("%s: got %v, %v", dtype, got, err)
		}
	}
	var got []bool
	err := (&Decoder{Module: spec.Modules()[0]}).numbers("b", &Tensor{"b", Bool, []int{1}, []byte{2}}, reflect.ValueOf(&got).Elem())
	if !errors.Is(err, spec.Invalid) {
		t.Errorf("the byte 2 is the bool %v (%v)", got, err)
	}
}

func TestWhatCannotTravelIsInvalid(t *testing.T) {
	forward := spec.ModuleByName("cross-doc-attn").Operation("forward")
	put := spec.ModuleByName("hierarchical-kv").Operation("put")
	add := spec.ModuleByName("multimodal-batch").Operation("add_request")
	for name, c := range map[string]struct {
		op   *spec.Operation
		args []any
	}{
		"heads without data": {forward, []any{spec.Heads{Heads: 2, Tokens: 1, Dim: 1, Stride: 1}, []spec.Heads{}, []spec.Heads{}}},
		"endless heads":      {forward, []any{spec.Heads{Heads: math.MaxInt}, []spec.Heads{}, []spec.Heads{}}},
		"matrix of 4 for 6":  {put, []any{0, spec.Matrix{Rows: 2, Cols: 3, Data: make([]float32, 4)}, spec.Matrix{}}},
		"no UTF-8":           {add, []any{int64(0), spec.Modality("\xff"), 0, 0, 0}},
		"too few arguments":  {add, []any{int64(0)}},
		"another type":       {add, []any{0, spec.Text, 0, 0, 0}},
	} {
		var e Encoder
		if raw, err := e.EncodeArgs(c.op, c.args); !errors.Is(err, spec.Invalid) {
			t.Errorf("%s: got %s, error %v, want an invalid one", name, raw, err)
		}
	}
}

// Types that modules of the table do not use yet.
func TestEveryTypeOfValueComesBack(t *testing.T) {
	type pair struct {
		A int16   `wire:"0"`
		B float32 `wire:"1"`
	}
	type tensors struct {
		A spec.Tensor `wire:"a"`
		B spec.Tensor `wire:"b"`
	}
	type all struct {
		Floats  []float64              `wire:"floats"`
		Ints    []int                  `wire:"ints"`
		Ints16  []int16                `wire:"ints16"`
		Ints32  []int32                `wire:"ints32"`
		Bytes   []uint8                `wire:"bytes"`
		Bools   []bool                 `wire:"bools"`
		Flag    bool                   `wire:"flag"`
		Byte    uint8                  `wire:"byte"`
		Strings []string               `wire:"strings"`
		Pairs   []pair                 `wire:"pairs"`
		Lists   [][]int64              `wire:"lists"`
		Tensors []spec.Tensor          `wire:"tensors"`
		Nested  []tensors              `wire:"nested"`
		Indices spec.Indices           `wire:"indices"`
		Layers  map[string]spec.Matrix `wire:"layers"`
	}
	rapid.Check(t, func(t *rapid.T) {
		var want, got all
		for v, i := reflect.ValueOf(&want).Elem(), 0; i < v.NumField()-1; i++ {
			draw(t, v.Field(i))
		}
		want.Layers = map[string]spec.Matrix{}
		for _, key := range rapid.SliceOfDistinct(rapid.String(), rapid.ID).Draw(t, "keys") {
			want.Layers[key] = spec.Matrix{Rows: 1, Cols: 1, Data: []float32{float32s.Draw(t, "element")}}
		}
		var e, again Encoder
		raw, err := e.encode("v", reflect.ValueOf(want), nil)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := again.encode("v", reflect.ValueOf(want), nil); err != nil || !bytes.Equal(same, raw) {
			t.Fatalf("%s, then %s (%v)", raw, same, err)
		}
		d := sent(t, spec.Modules()[0], &e)
		d.used = map[*Tensor]bool{}
		if err := d.decode("v", raw, reflect.ValueOf(&got).Elem(), spec.Param{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, sameBits); diff != "" {
			t.Fatalf("%s: %s", raw, diff)
		}
	})
}

func TestStrictDecoderWantsTheWholeResult(t *testing.T) {
	m := spec.ModuleByName("ternary-quant")
	codes := Tensor{"c", I8, []int{1}, []byte{1}}
	for _, c := range []struct{ op, raw, missing string }{
		{"quantize", `{"ternary":{"tensor":"c"},"scale":1}`, ""},
		{"quantize", `{"ternary":{"tensor":"c"}}`, "scale"},
		{"quantize", `{"scale":1}`, "ternary"},
		{"quantize", ``, "ternary"},
		{"stats", `{"total_quantize_calls":1,"total_weights_quantized":2,"total_zeros":1,"sparsity":0.5}`, ""},
		{"stats", `{"total_quantize_calls":1,"total_weights_quantized":2,"sparsity":0.5}`, "total_zeros"},
		{"dequantize", `null`, "weights"},
	} {
		op := m.Operation(c.op)
		err := (&Decoder{Module: m, Tensors: []Tensor{codes}, Strict: true}).DecodeResult(op, json.RawMessage(c.raw), op.NewResult())
		if c.missing == "" && err != nil || c.missing != "" && (err == nil || err.Error() != "ternary-quant: "+c.missing+": want a value, got none") {
			t.Errorf("%s %s: got %v, want %q missing", c.op, c.raw, err, c.missing)
		}
	}
}

func TestUnusedTensorsAreKnown(t *testing.T) {
	m := spec.ModuleByName("ternary-quant")
	d := Decoder{Module: m, Tensors: []Tensor{{"c", I8, []int{1}, []byte{1}}, {"more", U8, []int{0}, nil}, {"s", F32, []int{}, make([]byte, 4)}}}
	for raw, want := range map[string]string{
		`{"ternary":{"tensor":"c"},"scale":{"tensor":"s"}}`: "[more]",
		`{"ternary":{"tensor":"c"},"scale":1}`:              "[more s]",
		`{"ternary":{"tensor":"more"},"scale":1}`:           "[c s]",
	} {
		if _, _, err := d.DecodeArgs(m.Operation("dequantize"), json.RawMessage(raw)); err != nil || fmt.Sprint(d.Unused()) != want {
			t.Errorf("%s: unused %v, %v, want %s", raw, d.Unused(), err, want)
		}
	}
}

// TestBytesDoNotBecomeGigabytes: a tensor of bytes may stand for numbers of eight.
func TestBytesDoNotBecomeGigabytes(t *testing.T) {
	m := spec.ModuleByName("cot-compress")
	op := m.Operation("compress")
	n := MaxFrame/8 + 1
	d := Decoder{Module: m, Tensors: []Tensor{{"k", I8, []int{n}, make([]byte, n)}}}
	if err := d.DecodeResult(op, json.RawMessage(`{"kept":{"tensor":"k"}}`), op.NewResult()); !errors.Is(err, spec.Invalid) {
		t.Errorf("got %v, want it refused", err)
	}
}
