package proxy

import (
	"fmt"
	"io"
	"reflect"

	"github.com/squishspec/squishspec/spec"
)

// A Call is one call of one operation of one instance.
type Call struct {
	Module *spec.Module
	// Op is an operation of the module, or New or Close.
	Op *spec.Operation
	// Args are the arguments in the table's order, of the method's own types; for
	// New the config.
	Args []any
	// Dst points to the result, nil where there is none.
	Dst any
}

// New and Close are the calls that begin and end an instance. No module has a
// method Close: whoever opened a Handler for an instance closes it through that.
var (
	New   = &spec.Operation{Name: "new"}
	Close = &spec.Operation{Name: "close"}
)

// A Handler makes the calls of one instance. The first is New.
type Handler func(*Call) error

// A Layer stands before a Handler. It is applied anew for every instance, so
// that a layer's variables are that instance's.
type Layer func(next Handler) Handler

// A Breach is what a layer panics with when a call broke a rule that no error
// value can report: queries return no error.
type Breach struct {
	Symptom spec.Symptom
	Message string
}

func (b *Breach) Error() string { return string(b.Symptom) + ": " + b.Message }

// Connect returns an implementation that offers what impl offers and hands the
// calls of each new instance to a Handler of its own.
func Connect(impl spec.Implementation, open func(*spec.Module) Handler) spec.Implementation {
	var there []*spec.Module
	for _, m := range spec.Modules() {
		if impl.Has(m) {
			there = append(there, m)
		}
	}
	return Provide(impl, there, open)
}

// Provide returns impl with a constructor for each of the modules, there or not,
// whose every instance hands its calls to a Handler of its own.
func Provide(impl spec.Implementation, modules []*spec.Module, open func(*spec.Module) Handler) spec.Implementation {
	for _, m := range modules {
		connectors[m.Name](&impl, func() Handler { return open(m) })
	}
	return impl
}

// Local returns a Handler for one new instance of module m of impl, which must
// have a constructor for it.
func Local(impl spec.Implementation, m *spec.Module) Handler { return locals[m.Name](&impl) }

// Stack puts layers before a Handler, the first outermost.
func Stack(h Handler, layers ...Layer) Handler {
	for i := len(layers) - 1; i >= 0; i-- {
		h = layers[i](h)
	}
	return h
}

// Wrap returns impl with layers before each of its instances, the first
// outermost.
func Wrap(impl spec.Implementation, layers ...Layer) spec.Implementation {
	return Connect(impl, func(m *spec.Module) Handler { return Stack(Local(impl, m), layers...) })
}

// ask makes a call that cannot return an error.
func ask(h Handler, c *Call) {
	if err := h(c); err != nil {
		panic(&Breach{spec.Rejected, fmt.Sprintf("%s %s: a query was refused: %v", c.Module.Name, c.Op.Name, err)})
	}
}

// made rejects the nil instance that a constructor returned without an error.
func made[M any](m *spec.Module, instance M, err error) error {
	if v := reflect.ValueOf(&instance).Elem(); err == nil && v.IsNil() {
		return spec.Reject(spec.Unsupported, m.Name, "constructor", "an instance or an error", "neither")
	}
	return err
}

// closeInstance closes an instance that holds resources.
func closeInstance(instance any) error {
	if c, ok := instance.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// unsupported is the answer to an optional operation that the instance lacks.
func unsupported(c *Call) error {
	return spec.Reject(spec.Unsupported, c.Module.Name, c.Op.Name, "an instance that has this operation", "one without it")
}

// misrouted is the answer to an operation of another module.
func misrouted(c *Call) error {
	return spec.Reject(spec.Unsupported, c.Module.Name, "operation", "one of the module's", fmt.Sprintf("%q", c.Op.Name))
}
