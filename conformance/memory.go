package conformance

import (
	"fmt"
	"math"
	"reflect"
)

// A value's buffers are the slices in it whose elements hold no slices
// themselves: the memory that a call reads or writes.

// relocate returns a copy of v in which every buffer is what place returns for
// it. Slices of structs or slices are copied, so that nothing of v is shared but
// what place chose to share.
func relocate(v any, place func(path string, buffer reflect.Value) reflect.Value) any {
	if v == nil {
		return nil
	}
	return relocateValue(reflect.ValueOf(v), "", place).Interface()
}

func relocateValue(v reflect.Value, path string, place func(string, reflect.Value) reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		if isFlat(v.Type().Elem()) {
			return place(path, v)
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(relocateValue(v.Index(i), fmt.Sprintf("%s[%d]", path, i), place))
		}
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			out.Field(i).Set(relocateValue(v.Field(i), join(path, v.Type().Field(i).Name), place))
		}
		return out
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(relocateValue(v.Elem(), path, place))
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for iter := v.MapRange(); iter.Next(); {
			out.SetMapIndex(iter.Key(), relocateValue(iter.Value(), fmt.Sprintf("%s[%v]", path, iter.Key()), place))
		}
		return out
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		out.Set(relocateValue(v.Elem(), path, place))
		return out
	default:
		return v
	}
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}

// isFlat reports whether values of t hold no slices, pointers or maps.
func isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer, reflect.Map, reflect.Interface:
		return false
	case reflect.Struct:
		for i := range t.NumField() {
			if !isFlat(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}

// clone returns a deep copy of v.
func clone(v any) any {
	return relocate(v, func(_ string, buffer reflect.Value) reflect.Value {
		out := reflect.MakeSlice(buffer.Type(), buffer.Len(), buffer.Len())
		reflect.Copy(out, buffer)
		return out
	})
}

// cloneAs is clone for a caller who knows the type.
func cloneAs[V any](v V) V { return clone(v).(V) }

// eachBuffer calls visit for every buffer of v.
func eachBuffer(v any, visit func(path string, buffer reflect.Value)) {
	relocate(v, func(path string, buffer reflect.Value) reflect.Value {
		visit(path, buffer)
		return buffer
	})
}

// differences returns where a and b differ first, bit for bit, or "". Nil and
// empty slices are the same. Floats are compared by their bits.
func differences(a, b any) string {
	return diffValue(reflect.ValueOf(a), reflect.ValueOf(b), "")
}

func diffValue(a, b reflect.Value, path string) string {
	if a.IsValid() != b.IsValid() || (a.IsValid() && a.Type() != b.Type()) {
		return fmt.Sprintf("%s: got %v, want %v", path, a, b)
	}
	if !a.IsValid() {
		return ""
	}
	switch a.Kind() {
	case reflect.Slice:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%s: got %d elements, want %d", path, a.Len(), b.Len())
		}
		for i := range a.Len() {
			if d := diffValue(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i)); d != "" {
				return d
			}
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if d := diffValue(a.Field(i), b.Field(i), join(path, a.Type().Field(i).Name)); d != "" {
				return d
			}
		}
	case reflect.Pointer, reflect.Interface:
		return diffValue(a.Elem(), b.Elem(), path)
	case reflect.Map:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%s: got %d entries, want %d", path, a.Len(), b.Len())
		}
		for iter := a.MapRange(); iter.Next(); {
			other := b.MapIndex(iter.Key())
			if d := diffValue(iter.Value(), other, fmt.Sprintf("%s[%v]", path, iter.Key())); d != "" {
				return d
			}
		}
	case reflect.Float32:
		// Not through Float, a float64: that makes a signalling NaN a quiet one.
		x, y := math.Float32bits(a.Interface().(float32)), math.Float32bits(b.Interface().(float32))
		if x != y {
			return fmt.Sprintf("%s: got %v (bits %08x), want %v (bits %08x)", path, a, x, b, y)
		}
	case reflect.Float64:
		if math.Float64bits(a.Float()) != math.Float64bits(b.Float()) {
			return fmt.Sprintf("%s: got %v, want %v", path, a, b)
		}
	default:
		if !a.Equal(b) {
			return fmt.Sprintf("%s: got %v, want %v", path, a, b)
		}
	}
	return ""
}
