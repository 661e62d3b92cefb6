package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/squishspec/squishspec/spec"
)

// An Encoder turns Go values into JSON and tensors. Types map as follows:
//
//	int…, uint…, float…, bool, string     number, true or false, string
//	a float that is not finite            a tensor of shape []
//	[]float…, []int…, []uint8, []bool     a tensor of one axis
//	[]spec.Float16                        a tensor of one axis, of dtype F16
//	spec.Matrix, spec.Heads               a tensor of two and three axes
//	spec.Tensor                           a tensor of any number of axes
//	spec.Indices                          a list of whole numbers
//	[]T of anything else                  a list
//	struct                                an object, keyed by the `wire` tags; a field
//	                                      with the option omitzero is left out where it is zero
//	struct with tags "0", "1", …          a list
//	struct with a bool tagged "?"         null where that is false
//	[]struct with tags "@key", "@value"   an object, in the order of the slice
//	map[string]T                          an object
//
// A nil slice for an optional argument is null, and any other is empty. What has no
// encoding (a matrix whose fields do not fit each other, a string that is not UTF-8)
// is an Invalid error.
type Encoder struct {
	// Prefix begins the names of the tensors to come.
	Prefix string
	// Tensors are those made so far.
	Tensors []Tensor
}

// EncodeConfig encodes a config: all its fields, but for an empty variant, nil
// slices and zero matrices, where their default is that too.
func (e *Encoder) EncodeConfig(config any) (json.RawMessage, error) {
	v := reflect.ValueOf(config)
	missing := reflect.ValueOf(defaultsOf(config)) // what a missing field decodes to
	var members []member
	for i := range v.NumField() {
		name, f := tagOf(v.Type().Field(i)).name, v.Field(i)
		isAbsent := f.Type() == reflect.TypeFor[spec.Variant]() || f.Kind() == reflect.Slice || f.Type() == reflect.TypeFor[spec.Matrix]()
		if f.IsZero() && isAbsent && missing.Field(i).IsZero() {
			continue
		}
		members = append(members, member{name: name, value: f})
	}
	return e.object("", members)
}

// defaultsOf returns the defaults of a module's config, with its dimensions, or the
// zero config where no module has it.
func defaultsOf(config any) any {
	for _, m := range spec.Modules() {
		if reflect.TypeOf(m.Config) == reflect.TypeOf(config) {
			return m.Defaults(config)
		}
	}
	return reflect.Zero(reflect.TypeOf(config)).Interface()
}

// EncodeArgs encodes an operation's arguments, in the table's order.
func (e *Encoder) EncodeArgs(op *spec.Operation, args []any) (json.RawMessage, error) {
	if len(args) != len(op.Args) {
		return nil, spec.Reject(spec.Invalid, "wire", op.Name, fmt.Sprintf("%d arguments", len(op.Args)), len(args))
	}
	var members []member
	for i, p := range op.Args {
		if got, want := reflect.TypeOf(args[i]), op.ArgType(i); got != want {
			return nil, spec.Reject(spec.Invalid, "wire", p.Name, want.String(), got)
		}
		members = append(members, member{name: p.Name, value: reflect.ValueOf(args[i]), optional: p.Optional})
	}
	return e.object("", members)
}

// EncodeResult encodes an operation's result, a pointer as Operation.NewResult
// returns. shapes are the wire shapes of the arguments, by name: a flat result or a
// matrix that is like an argument takes that argument's shape, and a flat one that
// is like a matrix beside it that matrix's; nil leaves it as it is, as does one of
// another volume or, for a matrix, of other rows. An operation without a result has
// the empty object.
func (e *Encoder) EncodeResult(op *spec.Operation, result any, shapes map[string][]int) (json.RawMessage, error) {
	if op.ResultType() == nil {
		return e.object("", nil)
	}
	v := reflect.ValueOf(result).Elem()
	if op.Result.Name != "" {
		return e.object("", []member{{name: op.Result.Name, value: v, shape: shapes[op.Result.Like]}})
	}
	var members []member
	for i := range v.NumField() {
		tag := tagOf(v.Type().Field(i))
		shape := shapes[tag.like]
		if m, ok := sibling(v, tag.like); ok {
			shape = []int{m.Rows, m.Cols}
		}
		members = append(members, member{name: tag.name, value: v.Field(i), shape: shape})
	}
	return e.object("", members)
}

// sibling returns the matrix of that name among the fields of a result.
func sibling(result reflect.Value, name string) (spec.Matrix, bool) {
	for i := range result.NumField() {
		if m, ok := result.Field(i).Interface().(spec.Matrix); ok && name != "" && tagOf(result.Type().Field(i)).name == name {
			return m, true
		}
	}
	return spec.Matrix{}, false
}

// A member is a value of an object to be, with the shape to give it. An optional
// one is null where it is not given.
type member struct {
	name     string
	value    reflect.Value
	shape    []int
	optional bool
}

// isNone reports whether an optional value is not given: a nil slice, or a matrix
// of nothing.
func isNone(v reflect.Value) bool {
	if m, ok := v.Interface().(spec.Matrix); ok {
		return spec.IsNone(m)
	}
	return v.Kind() == reflect.Slice && v.IsNil()
}

// object encodes an object, which lies at path: that begins its tensors' names.
func (e *Encoder) object(path string, members []member) (json.RawMessage, error) {
	if path != "" {
		path += "."
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := encodeString(m.name, m.name)
		if err != nil {
			return nil, err
		}
		text := json.RawMessage("null")
		if !m.optional || !isNone(m.value) {
			if text, err = e.encode(path+m.name, m.value, m.shape); err != nil {
				return nil, err
			}
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (e *Encoder) list(path string, n int, item func(i int) reflect.Value) (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		text, err := e.encode(fmt.Sprintf("%s.%d", path, i), item(i), nil)
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}

// encode encodes a value. path names its tensors.
func (e *Encoder) encode(path string, v reflect.Value, shape []int) (json.RawMessage, error) {
	switch x := v.Interface().(type) {
	case spec.Matrix:
		if err := spec.CheckMatrix("wire", path, x, -1, -1); err != nil {
			return nil, err
		}
		if n, ok := spec.Volume(shape...); len(shape) == 0 || !ok || n != len(x.Data) || shape[len(shape)-1] != x.Cols {
			shape = []int{x.Rows, x.Cols}
		}
		return e.tensor(path, shape, reflect.ValueOf(x.Data))
	case spec.Heads:
		if err := spec.CheckHeads("wire", path, x, x.Heads, -1, x.Dim); err != nil {
			return nil, err
		}
		var dense []float32
		for h := 0; h < x.Heads && x.Tokens*x.Dim > 0; h++ { // empty heads may be any number
			dense = append(dense, x.Head(h).Data...)
		}
		return e.tensor(path, []int{x.Heads, x.Tokens, x.Dim}, reflect.ValueOf(dense))
	case spec.Tensor:
		if err := spec.CheckTensor("wire", path, x); err != nil {
			return nil, err
		}
		return e.tensor(path, append([]int{}, x.Shape...), reflect.ValueOf(x.Data))
	case spec.Indices:
		return json.Marshal(append([]int{}, x...))
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if x := v.Float(); math.IsNaN(x) || math.IsInf(x, 0) {
			return e.tensor(path, []int{}, v)
		}
		return json.Marshal(v.Interface())
	case reflect.String:
		return encodeString(path, v.String())
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return json.Marshal(v.Interface())
	case reflect.Slice:
		if elem := v.Type().Elem(); isKeyed(elem) {
			return e.keyed(path, v)
		} else if dtypeOf(elem) == "" {
			return e.list(path, v.Len(), v.Index)
		}
		if n, ok := spec.Volume(shape...); shape == nil || !ok || n != v.Len() {
			shape = []int{v.Len()}
		}
		return e.tensor(path, shape, v)
	case reflect.Struct:
		return e.structure(path, v)
	case reflect.Map:
		var members []member
		for _, key := range sortedKeys(v) {
			members = append(members, member{name: key.String(), value: v.MapIndex(key)})
		}
		return e.object(path, members)
	}
	return nil, fmt.Errorf("wire: %s: no encoding of %v", path, v.Type())
}

func (e *Encoder) structure(path string, v reflect.Value) (json.RawMessage, error) {
	form := formOf(v.Type())
	if form.presence >= 0 && !v.Field(form.presence).Bool() {
		return json.RawMessage("null"), nil
	}
	if form.tuple {
		return e.list(path, len(form.fields), func(i int) reflect.Value { return v.Field(form.fields[i]) })
	}
	var members []member
	for _, i := range form.fields {
		tag := tagOf(v.Type().Field(i))
		if f := v.Field(i); tag.omitZero && f.IsZero() && !(f.CanFloat() && math.Signbit(f.Float())) {
			continue
		}
		members = append(members, member{name: tag.name, value: v.Field(i)})
	}
	return e.object(path, members)
}

// keyed encodes a slice of keys and values. An object cannot hold a key twice.
func (e *Encoder) keyed(path string, v reflect.Value) (json.RawMessage, error) {
	form := formOf(v.Type().Elem())
	seen := map[string]bool{}
	var members []member
	for i := range v.Len() {
		key := fmt.Sprint(v.Index(i).Field(form.key))
		if seen[key] {
			return nil, spec.Reject(spec.Invalid, "wire", path, "each key once", fmt.Sprintf("%.40q again", key))
		}
		seen[key] = true
		members = append(members, member{name: key, value: v.Index(i).Field(form.value)})
	}
	return e.object(path, members)
}

// encodeString refuses what JSON cannot carry: encoding/json would put U+FFFD.
func encodeString(path, s string) (json.RawMessage, error) {
	if !utf8.ValidString(s) {
		return nil, spec.Reject(spec.Invalid, "wire", path, "UTF-8", fmt.Sprintf("%.40q", s))
	}
	return json.Marshal(s)
}

// tensor adds a tensor of numbers, a slice of them or a single one, and returns
// the reference to it.
func (e *Encoder) tensor(path string, shape []int, numbers reflect.Value) (json.RawMessage, error) {
	t := Tensor{Name: e.Prefix + path, Shape: shape}
	if numbers.Kind() == reflect.Slice {
		t.DType = dtypeOf(numbers.Type().Elem())
		for i := range numbers.Len() {
			t.Data = appendNumber(t.Data, numbers.Index(i))
		}
	} else {
		t.DType = dtypeOf(numbers.Type())
		t.Data = appendNumber(t.Data, numbers)
	}
	if n, ok := byteLength(t.DType, shape, MaxFrame); !ok || n != len(t.Data) {
		return nil, spec.Reject(spec.Invalid, "wire", path, fmt.Sprintf("the elements of shape %v", shape), fmt.Sprintf("%d bytes of %s", len(t.Data), t.DType))
	}
	e.Tensors = append(e.Tensors, t)
	return json.Marshal(map[string]string{"tensor": t.Name})
}

// dtypeOf returns the dtype of a tensor of that Go type, "" where there is none.
func dtypeOf(t reflect.Type) DType {
	if t == reflect.TypeFor[spec.Float16]() {
		return F16
	}
	switch t.Kind() {
	case reflect.Float32:
		return F32
	case reflect.Float64:
		return F64
	case reflect.Int, reflect.Int64:
		return I64
	case reflect.Int32:
		return I32
	case reflect.Int16:
		return I16
	case reflect.Int8:
		return I8
	case reflect.Uint8:
		return U8
	case reflect.Bool:
		return Bool
	}
	return ""
}

func appendNumber(data []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Float32:
		return binary.LittleEndian.AppendUint32(data, float32Bits(v))
	case reflect.Float64:
		return binary.LittleEndian.AppendUint64(data, math.Float64bits(v.Float()))
	case reflect.Bool:
		if v.Bool() {
			return append(data, 1)
		}
		return append(data, 0)
	case reflect.Uint8:
		return append(data, uint8(v.Uint()))
	case reflect.Uint16: // the bits of a Float16
		return binary.LittleEndian.AppendUint16(data, uint16(v.Uint()))
	}
	for i := range dtypeOf(v.Type()).Size() {
		data = append(data, byte(v.Int()>>(8*i)))
	}
	return data
}

// float32Bits returns the bits of a float32. reflect's Float would turn it into a
// float64, which makes a signalling NaN a quiet one.
func float32Bits(v reflect.Value) uint32 {
	if x, ok := v.Interface().(float32); ok {
		return math.Float32bits(x)
	}
	return math.Float32bits(float32(v.Float()))
}

// A tag is the `wire` tag of a struct field: its name, and as an option the
// argument, or the matrix beside it, that a flat result is shaped like, or that zero
// is not written.
type tag struct {
	name, like string
	omitZero   bool
}

func tagOf(f reflect.StructField) tag {
	name, option, _ := strings.Cut(f.Tag.Get("wire"), ",")
	like, _ := strings.CutPrefix(option, "like=")
	if option == "omitzero" {
		return tag{name: name, omitZero: true}
	}
	return tag{name: name, like: like}
}

// A form says how a struct is encoded.
type form struct {
	presence   int // index of the field tagged "?", −1 where there is none
	key, value int // of those tagged "@key" and "@value", −1 where there are none
	tuple      bool
	fields     []int
}

// isKeyed reports whether values of t are a key and a value each.
func isKeyed(t reflect.Type) bool { return t.Kind() == reflect.Struct && formOf(t).key >= 0 }

func formOf(t reflect.Type) form {
	f := form{presence: -1, key: -1, value: -1}
	for i := range t.NumField() {
		switch name := tagOf(t.Field(i)).name; name {
		case "":
		case "?":
			f.presence = i
		case "@key":
			f.key = i
		case "@value":
			f.value = i
		case "0":
			f.tuple = true
			f.fields = append(f.fields, i)
		default:
			f.fields = append(f.fields, i)
		}
	}
	return f
}

func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	for i := range keys {
		for j := i; j > 0 && keys[j].String() < keys[j-1].String(); j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}
