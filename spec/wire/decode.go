package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"

	"github.com/squishspec/squishspec/spec"
)

// A Decoder turns JSON and the tensors of a frame into Go values, as an Encoder
// wrote them. A tensor stands in one place of a value; its dtype may be another
// one that holds the same numbers. What does not fit the type (a tensor of another
// rank, a fraction for an integer, a name that does not exist) is an Invalid error.
type Decoder struct {
	Module  *spec.Module
	Tensors []Tensor
	// Strict refuses a result that lacks a field: an answer has them all, and what a
	// recording expects may be some of them.
	Strict bool

	byName map[string]*Tensor
	used   map[*Tensor]bool // by the value that is being decoded
}

// Unused returns the names of the tensors that the last value did not refer to.
func (d *Decoder) Unused() []string {
	var names []string
	for i := range d.Tensors {
		if !d.used[&d.Tensors[i]] {
			names = append(names, d.Tensors[i].Name)
		}
	}
	return names
}

// DecodeConfig decodes a config of the decoder's module. A field that is missing
// or null takes its default, with the dimensions of the fields that are there.
func (d *Decoder) DecodeConfig(raw json.RawMessage) (any, error) {
	first, err := d.configOver(d.Module.Config, raw)
	if err != nil {
		return nil, err
	}
	return d.configOver(d.Module.Defaults(first), raw)
}

func (d *Decoder) configOver(defaults any, raw json.RawMessage) (any, error) {
	members, err := d.begin("config", raw)
	if err != nil {
		return nil, err
	}
	config := reflect.New(reflect.TypeOf(defaults)).Elem()
	config.Set(reflect.ValueOf(defaults))
	for i := range config.NumField() {
		name := tagOf(config.Type().Field(i)).name
		value := members[name]
		delete(members, name)
		if isNull(value) {
			continue
		}
		if err := d.decode(name, value, config.Field(i), spec.Param{}); err != nil {
			return nil, err
		}
	}
	return config.Interface(), d.nothingElse(members)
}

// DecodeArgs decodes an operation's arguments, in the table's order, and returns
// the wire shapes of those that are tensors, by name.
func (d *Decoder) DecodeArgs(op *spec.Operation, raw json.RawMessage) (args []any, shapes map[string][]int, err error) {
	members, err := d.begin("args", raw)
	if err != nil {
		return nil, nil, err
	}
	shapes = map[string][]int{}
	for i, p := range op.Args {
		value := take(members, p)
		arg := reflect.New(op.ArgType(i)).Elem()
		switch {
		case !isNull(value):
			if err := d.decode(p.Name, value, arg, p); err != nil {
				return nil, nil, err
			}
			if t := d.referred(value); t != nil {
				shapes[p.Name] = t.Shape
			}
		case !p.Optional:
			return nil, nil, d.reject(p.Name, "a value", "none")
		case p.Default != nil:
			arg.Set(reflect.ValueOf(p.Default))
		}
		args = append(args, arg.Interface())
	}
	return args, shapes, d.nothingElse(members)
}

// DecodeResult decodes an operation's result into a pointer as Operation.NewResult
// returns. Fields of a struct that are missing are left alone, or refused by a Strict
// decoder.
func (d *Decoder) DecodeResult(op *spec.Operation, raw json.RawMessage, result any) error {
	members, err := d.begin("out", raw)
	if err != nil {
		return err
	}
	if op.ResultType() == nil {
		return d.nothingElse(members)
	}
	v := reflect.ValueOf(result).Elem()
	if op.Result.Name != "" {
		value := take(members, op.Result)
		if value == nil {
			return d.reject(op.Result.Name, "a value", "none")
		}
		if err := d.decode(op.Result.Name, value, v, spec.Param{AnyShape: op.Result.AnyShape || op.Result.Like != ""}); err != nil {
			return err
		}
		return d.nothingElse(members)
	}
	for i := range v.NumField() {
		tag := tagOf(v.Type().Field(i))
		value := members[tag.name]
		delete(members, tag.name)
		if value == nil && d.Strict {
			return d.reject(tag.name, "a value", "none")
		}
		if value == nil {
			continue
		}
		if err := d.decode(tag.name, value, v.Field(i), spec.Param{AnyShape: tag.like != ""}); err != nil {
			return err
		}
	}
	return d.nothingElse(members)
}

// take removes a parameter's value, by its name or its alias.
func take(members map[string]json.RawMessage, p spec.Param) json.RawMessage {
	value, ok := members[p.Name]
	if !ok && p.Alias != "" {
		value = members[p.Alias]
		delete(members, p.Alias)
	}
	delete(members, p.Name)
	return value
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null"
}

func (d *Decoder) reject(name, want string, got any) error {
	return spec.Reject(spec.Invalid, d.Module.Name, name, want, got)
}

// begin splits the object of a whole value.
func (d *Decoder) begin(name string, raw json.RawMessage) (map[string]json.RawMessage, error) {
	d.used = map[*Tensor]bool{}
	if len(raw) > 0 {
		if err := checkJSON(raw); err != nil {
			return nil, d.reject(name, "JSON that all readers understand alike", err)
		}
	}
	return d.members(name, raw)
}

// members splits an object; nothing at all is the empty one.
func (d *Decoder) members(name string, raw json.RawMessage) (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if isNull(raw) {
		return members, nil
	}
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, d.reject(name, "an object", shorten(raw))
	}
	return members, nil
}

func (d *Decoder) nothingElse(members map[string]json.RawMessage) error {
	for _, name := range sortedKeys(reflect.ValueOf(members)) {
		return d.reject(name.String(), "no such name", shorten(members[name.String()]))
	}
	return nil
}

func shorten(raw json.RawMessage) string {
	const most = 60
	if len(raw) > most {
		return string(raw[:most]) + "…"
	}
	return string(raw)
}

// decode decodes JSON into v, which is settable.
func (d *Decoder) decode(name string, raw json.RawMessage, v reflect.Value, p spec.Param) error {
	switch v.Interface().(type) {
	case spec.Matrix:
		return d.matrix(name, raw, v, p)
	case spec.Heads:
		return d.heads(name, raw, v)
	case spec.Tensor:
		return d.anyTensor(name, raw, v)
	case spec.Indices:
		return d.list(name, raw, v, spec.Param{})
	}
	switch v.Kind() {
	case reflect.Bool:
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil || isNull(raw) {
			return d.reject(name, "true or false", shorten(raw))
		}
		return nil
	case reflect.String:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || isNull(raw) {
			return d.reject(name, "a string", shorten(raw))
		}
		v.SetString(s)
		return nil
	case reflect.Slice:
		if isNull(raw) {
			return d.reject(name, "a value", "null")
		}
		if elem := v.Type().Elem(); isKeyed(elem) {
			return d.keyed(name, raw, v)
		} else if dtypeOf(elem) == "" {
			return d.list(name, raw, v, p)
		}
		t, err := d.tensor(name, raw)
		if err != nil {
			return err
		}
		if len(t.Shape) != 1 && !p.AnyShape {
			return d.reject(name, "a tensor of 1 axis", fmt.Sprintf("shape %v", t.Shape))
		}
		return d.numbers(name, t, v)
	case reflect.Struct:
		return d.structure(name, raw, v)
	case reflect.Map:
		return d.mapping(name, raw, v)
	}
	return d.scalar(name, raw, v)
}

func (d *Decoder) list(name string, raw json.RawMessage, v reflect.Value, p spec.Param) error {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || isNull(raw) {
		return d.reject(name, "a list", shorten(raw))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		if err := d.decode(fmt.Sprintf("%s[%d]", name, i), item, v.Index(i), spec.Param{AnyShape: p.AnyShape}); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) structure(name string, raw json.RawMessage, v reflect.Value) error {
	form := formOf(v.Type())
	if isNull(raw) {
		if form.presence < 0 {
			return d.reject(name, "a value", "null")
		}
		v.SetZero()
		return nil
	}
	if form.presence >= 0 {
		v.Field(form.presence).SetBool(true)
	}
	if form.tuple {
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil || len(items) != len(form.fields) {
			return d.reject(name, fmt.Sprintf("a list of %d", len(form.fields)), shorten(raw))
		}
		for i, field := range form.fields {
			if err := d.decode(fmt.Sprintf("%s[%d]", name, i), items[i], v.Field(field), spec.Param{}); err != nil {
				return err
			}
		}
		return nil
	}
	members, err := d.members(name, raw)
	if err != nil {
		return err
	}
	defaulter, hasDefault := v.Interface().(interface{ Default() any })
	if hasDefault {
		v.Set(reflect.ValueOf(defaulter.Default()))
	}
	for _, field := range form.fields {
		tag := tagOf(v.Type().Field(field))
		key := tag.name
		value, ok := members[key]
		if hasDefault && isNull(value) {
			delete(members, key)
			continue
		}
		if !ok && tag.omitZero {
			v.Field(field).SetZero()
			continue
		}
		if !ok {
			return d.reject(name+"."+key, "a value", "none")
		}
		if err := d.decode(name+"."+key, value, v.Field(field), spec.Param{}); err != nil {
			return err
		}
		delete(members, key)
	}
	return d.nothingElse(members)
}

// keyed decodes an object into a slice of keys and values, in the order of the text.
func (d *Decoder) keyed(name string, raw json.RawMessage, v reflect.Value) error {
	members, err := d.members(name, raw)
	if isNull(raw) || err != nil {
		return d.reject(name, "an object", shorten(raw))
	}
	form := formOf(v.Type().Elem())
	v.Set(reflect.MakeSlice(v.Type(), len(members), len(members)))
	for i, text := range keysInOrder(raw) {
		key := v.Index(i).Field(form.key)
		if key.Kind() == reflect.String {
			key.SetString(text)
		} else if n, err := strconv.ParseInt(text, 10, key.Type().Bits()); err == nil && strconv.FormatInt(n, 10) == text {
			key.SetInt(n)
		} else {
			return d.reject(name, "whole numbers in their usual form for keys", fmt.Sprintf("%.40q", text))
		}
		if err := d.decode(name+"."+text, members[text], v.Index(i).Field(form.value), spec.Param{}); err != nil {
			return err
		}
	}
	return nil
}

// keysInOrder returns the keys of an object, which is well formed.
func keysInOrder(raw json.RawMessage) []string {
	var keys []string
	tokens := json.NewDecoder(bytes.NewReader(raw))
	tokens.Token() // the brace
	for tokens.More() {
		key, _ := tokens.Token()
		keys = append(keys, key.(string))
		var value json.RawMessage
		tokens.Decode(&value)
	}
	return keys
}

func (d *Decoder) mapping(name string, raw json.RawMessage, v reflect.Value) error {
	if isNull(raw) {
		return d.reject(name, "an object", "null")
	}
	members, err := d.members(name, raw)
	if err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for key, value := range members {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.decode(name+"."+key, value, item, spec.Param{}); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), item)
	}
	return nil
}

func (d *Decoder) matrix(name string, raw json.RawMessage, v reflect.Value, p spec.Param) error {
	t, err := d.tensor(name, raw)
	if err != nil {
		return err
	}
	axes := len(t.Shape)
	if axes != 2 && !(p.AnyShape && axes > 0) {
		return d.reject(name, "a tensor of 2 axes", fmt.Sprintf("shape %v", t.Shape))
	}
	m := spec.Matrix{Rows: 1, Cols: t.Shape[axes-1]}
	for _, n := range t.Shape[:axes-1] {
		m.Rows *= n
	}
	if err := d.numbers(name, t, reflect.ValueOf(&m.Data).Elem()); err != nil {
		return err
	}
	v.Set(reflect.ValueOf(m))
	return nil
}

func (d *Decoder) heads(name string, raw json.RawMessage, v reflect.Value) error {
	t, err := d.tensor(name, raw)
	if err != nil {
		return err
	}
	if len(t.Shape) != 3 {
		return d.reject(name, "a tensor of 3 axes", fmt.Sprintf("shape %v", t.Shape))
	}
	x := spec.Heads{Heads: t.Shape[0], Tokens: t.Shape[1], Dim: t.Shape[2], Stride: t.Shape[1] * t.Shape[2]}
	if err := d.numbers(name, t, reflect.ValueOf(&x.Data).Elem()); err != nil {
		return err
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

func (d *Decoder) anyTensor(name string, raw json.RawMessage, v reflect.Value) error {
	t, err := d.tensor(name, raw)
	if err != nil {
		return err
	}
	x := spec.Tensor{Shape: append([]int{}, t.Shape...)}
	if err := d.numbers(name, t, reflect.ValueOf(&x.Data).Elem()); err != nil {
		return err
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

// referred returns the tensor that {"tensor": NAME} refers to, nil where the JSON
// is something else or there is no such tensor.
func (d *Decoder) referred(raw json.RawMessage) *Tensor {
	var reference struct {
		Tensor *string `json:"tensor"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&reference) != nil || reference.Tensor == nil {
		return nil
	}
	if d.byName == nil {
		d.byName = map[string]*Tensor{}
		for i := range d.Tensors {
			t := &d.Tensors[i]
			if n, ok := byteLength(t.DType, t.Shape, MaxFrame); ok && t.DType.Size() > 0 && n == len(t.Data) {
				d.byName[t.Name] = t
			}
		}
	}
	return d.byName[*reference.Tensor]
}

func (d *Decoder) tensor(name string, raw json.RawMessage) (*Tensor, error) {
	t := d.referred(raw)
	if t == nil {
		return nil, d.reject(name, `{"tensor": NAME} with a tensor of the frame`, shorten(raw))
	}
	if d.used[t] { // else a short list of one large tensor is many of them
		return nil, d.reject(name, "a tensor that stands in one place only", shorten(raw))
	}
	d.used[t] = true
	return t, nil
}

// scalar decodes a number, written in JSON or as a tensor of shape [].
func (d *Decoder) scalar(name string, raw json.RawMessage, v reflect.Value) error {
	if t := d.referred(raw); t != nil {
		if len(t.Shape) != 0 {
			return d.reject(name, "a number", fmt.Sprintf("a tensor of shape %v", t.Shape))
		}
		d.used[t] = true
		return d.number(name, t, 0, v)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	token, err := decoder.Token()
	number, ok := token.(json.Number)
	if _, more := decoder.Token(); err != nil || !ok || more != io.EOF {
		return d.reject(name, "a number", shorten(raw))
	}
	switch {
	case v.CanFloat():
		x, err := strconv.ParseFloat(number.String(), v.Type().Bits())
		if err != nil {
			return d.reject(name, "a number in the range of "+v.Type().String(), number)
		}
		v.SetFloat(x)
	case v.CanInt():
		n, err := strconv.ParseInt(number.String(), 10, v.Type().Bits())
		if err != nil {
			return d.reject(name, "a whole number in the range of "+v.Type().String(), number)
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(number.String(), 10, v.Type().Bits())
		if err != nil {
			return d.reject(name, "a whole number in the range of "+v.Type().String(), number)
		}
		v.SetUint(n)
	default:
		return d.reject(name, "a type that has an encoding", v.Type())
	}
	return nil
}

// numbers decodes a tensor's elements into a slice.
func (d *Decoder) numbers(name string, t *Tensor, v reflect.Value) error {
	n := len(t.Data) / t.DType.Size()
	if n > MaxFrame/int(v.Type().Elem().Size()) { // bytes may become eight times as many
		return d.reject(name, fmt.Sprintf("at most %d bytes of %v", MaxFrame, v.Type().Elem()), fmt.Sprintf("%d elements", n))
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		if err := d.number(name, t, i, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// number decodes element i of a tensor into v: floats from any float dtype,
// integers from any integer dtype whose value is in range, booleans from 0 and 1 of
// BOOL and U8.
func (d *Decoder) number(name string, t *Tensor, i int, v reflect.Value) error {
	data := t.Data[i*t.DType.Size():]
	wrong := func(want string) error { return d.reject(name, "elements of "+want, "dtype "+string(t.DType)) }
	switch {
	case v.Kind() == reflect.Bool:
		if t.DType != Bool && t.DType != U8 {
			return wrong("dtype BOOL or U8")
		}
		if data[0] > 1 {
			return d.reject(name, "elements 0 and 1", data[0])
		}
		v.SetBool(data[0] == 1)
	case v.Type() == reflect.TypeFor[spec.Float16]():
		if t.DType != F16 {
			return wrong("dtype F16")
		}
		v.SetUint(uint64(binary.LittleEndian.Uint16(data)))
	case v.CanFloat():
		if v.Kind() == reflect.Float32 && t.DType == F32 {
			// Not through float64: that would make a signalling NaN a quiet one.
			*v.Addr().Interface().(*float32) = math.Float32frombits(binary.LittleEndian.Uint32(data))
			return nil
		}
		x, ok := floatAt(t.DType, data)
		if !ok {
			return wrong("a float dtype")
		}
		if v.Kind() == reflect.Float32 && math.IsInf(float64(float32(x)), 0) && !math.IsInf(x, 0) {
			return d.reject(name, "elements in the range of float32", x)
		}
		v.SetFloat(x)
	default:
		n, ok := intAt(t.DType, data)
		if !ok {
			return wrong("an integer dtype")
		}
		if v.CanUint() && (n < 0 || v.OverflowUint(uint64(n))) || v.CanInt() && v.OverflowInt(n) {
			return d.reject(name, "elements in the range of "+v.Type().String(), n)
		}
		if v.CanUint() {
			v.SetUint(uint64(n))
		} else {
			v.SetInt(n)
		}
	}
	return nil
}

func floatAt(d DType, data []byte) (float64, bool) {
	switch d {
	case F64:
		return math.Float64frombits(binary.LittleEndian.Uint64(data)), true
	case F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data))), true
	case BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data)) << 16)), true
	case F16:
		return float16(binary.LittleEndian.Uint16(data)), true
	}
	return 0, false
}

// float16 is the value of an IEEE binary16: sign, 5 bits of exponent, 10 of
// fraction.
func float16(bits uint16) float64 {
	sign := 1 - 2*float64(bits>>15)
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	switch exponent {
	case 0:
		return math.Copysign(math.Ldexp(fraction, -24), sign)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

func intAt(d DType, data []byte) (int64, bool) {
	switch d {
	case I64:
		return int64(binary.LittleEndian.Uint64(data)), true
	case I32:
		return int64(int32(binary.LittleEndian.Uint32(data))), true
	case I16:
		return int64(int16(binary.LittleEndian.Uint16(data))), true
	case I8:
		return int64(int8(data[0])), true
	case U8:
		return int64(data[0]), true
	}
	return 0, false
}
