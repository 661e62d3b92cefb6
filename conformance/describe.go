package conformance

import (
	"fmt"
	"reflect"
	"strings"
)

// describe prints recordings as configs and calls, one a line, in wire names.
func describe(recordings []*recording) string {
	var b strings.Builder
	for _, r := range recordings {
		fmt.Fprintf(&b, "new %s %s\n", r.module.Name, describeValue(reflect.ValueOf(r.config)))
		for _, s := range r.steps {
			fmt.Fprintf(&b, "  %s%s\n", s.op.Name, describeArgs(s))
		}
	}
	return b.String()
}

func describeArgs(s step) string {
	var b strings.Builder
	for i, arg := range s.args {
		fmt.Fprintf(&b, " %s=%s", s.op.Args[i].Name, describeValue(reflect.ValueOf(arg)))
	}
	return b.String()
}

// shown is the number of elements of a slice that are printed. The vector has
// them all.
const shown = 16

func describeValue(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			return "none"
		}
		var items []string
		for i := range min(v.Len(), shown) {
			items = append(items, describeValue(v.Index(i)))
		}
		if v.Len() > shown {
			items = append(items, fmt.Sprintf("… %d in all", v.Len()))
		}
		return "[" + strings.Join(items, " ") + "]"
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("wire"), ",")
			if name == "" {
				name = strings.ToLower(v.Type().Field(i).Name)
			}
			if f := v.Field(i); !f.IsZero() || f.Kind() != reflect.Slice && f.Kind() != reflect.String {
				fields = append(fields, name+"="+describeValue(f))
			}
		}
		return "{" + strings.Join(fields, " ") + "}"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	default:
		return fmt.Sprint(v)
	}
}
