package spec

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// A Module is the specification of one module, as data.
type Module struct {
	// Name is the module's name everywhere outside Go: "ternary-quant".
	Name string
	// Wave is the wave of the page that lists it, 23 or 24.
	Wave int
	// Summary says in a line what it does.
	Summary string
	// Interface is the Go interface of its core operations.
	Interface reflect.Type
	// Config is its default config, a value of its config type.
	Config any
	// Defaults returns the default config with the dimensions of c: what a
	// field missing on the wire takes.
	Defaults func(c any) any
	// Variants are the variants beside the documented one.
	Variants []Variant
	// Operations are its operations, core ones first.
	Operations []Operation
	// Requirements are what an implementation is held to.
	Requirements []Requirement
}

// A Variant names a behaviour of a module. The zero value is the documented one.
type Variant string

const (
	// Documented is the behaviour that the page and the literature describe.
	Documented Variant = ""
	// Squish6 is the behaviour recorded from Squish 6.0.0.
	Squish6 Variant = "squish6"
)

// GoName is the module's name in Go: "TernaryQuant".
func (m *Module) GoName() string { return m.Interface.Name() }

// Operation returns the operation of that wire name, or nil.
func (m *Module) Operation(name string) *Operation {
	for i := range m.Operations {
		if m.Operations[i].Name == name {
			return &m.Operations[i]
		}
	}
	return nil
}

// Requirement returns the requirement of that id, or nil.
func (m *Module) Requirement(id string) *Requirement {
	for i := range m.Requirements {
		if m.Requirements[i].ID == id {
			return &m.Requirements[i]
		}
	}
	return nil
}

// HasVariant reports whether v is the documented variant or one of m's.
func (m *Module) HasVariant(v Variant) bool {
	if v == Documented {
		return true
	}
	for _, own := range m.Variants {
		if own == v {
			return true
		}
	}
	return false
}

// An Operation is one method of a module's interface, with its names on the
// wire. Types are the method's own: the Go interface is the only place where
// they are written.
type Operation struct {
	// Name is the wire name: "put_many", for the method PutMany.
	Name string
	// Args names the method's arguments, dst left out.
	Args []Param
	// Result names the result where that is one value. It is zero where there
	// is none, and where dst is a struct whose fields are the results: their
	// names are then in their `wire` tags.
	Result Param
	// Optional operations are called only where they are offered.
	Optional bool
	// Interface declares the method: the module's own, or for an optional
	// operation a small one beside it.
	Interface reflect.Type
}

// A Param names an argument or a result on the wire.
type Param struct {
	Name string
	// Alias is the recording's name where it differs.
	Alias string
	// AnyShape marks a tensor that is flat in Go ([]float32), or a Matrix, and
	// may have any number of axes on the wire; of a list, each of its tensors.
	AnyShape bool
	// Like names the argument whose wire shape a flat result takes.
	Like string
	// Optional arguments may be null or missing: then they are Default, or the zero
	// value where that is nil.
	Optional bool
	Default  any
}

// Method returns the Go method of the operation.
func (o *Operation) Method() reflect.Method {
	name := methodName(o.Name)
	m, ok := o.Interface.MethodByName(name)
	if !ok {
		panic(fmt.Sprintf("spec: operation %q: %v has no method %s", o.Name, o.Interface, name))
	}
	return m
}

// HasDst reports whether the method's first argument is the destination.
func (o *Operation) HasDst() bool { return o.Method().Type.NumIn() == len(o.Args)+1 }

// IsQuery reports whether the method returns a value rather than an error.
func (o *Operation) IsQuery() bool {
	t := o.Method().Type
	return t.NumOut() == 1 && t.Out(0) != reflect.TypeFor[error]()
}

// ArgType returns the Go type of argument i, dst left out.
func (o *Operation) ArgType(i int) reflect.Type {
	if o.HasDst() {
		i++
	}
	return o.Method().Type.In(i)
}

// ResultType returns the Go type of what the operation writes or returns, or nil.
func (o *Operation) ResultType() reflect.Type {
	switch t := o.Method().Type; {
	case o.HasDst():
		return t.In(0).Elem()
	case o.IsQuery():
		return t.Out(0)
	}
	return nil
}

// NewResult returns a pointer to a new zero result, or nil where there is none.
func (o *Operation) NewResult() any {
	if t := o.ResultType(); t != nil {
		return reflect.New(t).Interface()
	}
	return nil
}

// methodName turns a wire name into a Go name: put_many, PutMany.
func methodName(wire string) string {
	var b strings.Builder
	for _, part := range strings.Split(wire, "_") {
		runes := []rune(part)
		runes[0] = unicode.ToUpper(runes[0])
		b.WriteString(string(runes))
	}
	return b.String()
}

// op is a core operation of the interface I. Its result, where that is a single
// value, is named last; Param{} otherwise.
func op[I any](name string, result Param, args ...Param) Operation {
	return Operation{Name: name, Args: args, Result: result, Interface: reflect.TypeFor[I]()}
}

// optional is an operation that the small interface I declares.
func optional[I any](name string, result Param, args ...Param) Operation {
	o := op[I](name, result, args...)
	o.Optional = true
	return o
}

// named is a plain parameter.
func named(name string) Param { return Param{Name: name} }

// defaults adapts a config's own Defaults method to Module.Defaults.
func defaults[C any](f func(C) C) func(any) any {
	return func(c any) any { return f(c.(C)) }
}
