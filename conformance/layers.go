package conformance

import (
	"fmt"
	"math"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A recording is what happened to one instance: its config and its calls.
type recording struct {
	module *spec.Module
	config any
	steps  []step
	// unfrozen says that it is no vector: calls were made at once, of which steps is
	// one order, or inputs are made of answers, which another machine may round
	// otherwise.
	unfrozen bool
}

// record is a layer that notes every call, its arguments copied, in a recording
// of its own, which begin receives when the instance is made. Calls may be made at
// once.
func record(begin func(*recording)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		r := new(recording)
		var mu sync.Mutex
		return func(c *proxy.Call) error {
			switch c.Op {
			case proxy.New:
				r.module, r.config = c.Module, clone(c.Args[0])
				begin(r)
			case proxy.Close:
			default:
				s := step{c.Op, clone(c.Args).([]any)}
				mu.Lock()
				r.steps = append(r.steps, s)
				mu.Unlock()
			}
			return next(c)
		}
	}
}

// contain is a layer that turns a panic, an exit of the goroutine and a call
// that does not return in time into a Breach. A call that hangs keeps its
// goroutine and its buffers: nothing can take them back.
func contain(timeout time.Duration) proxy.Layer {
	type outcome struct {
		err    error
		breach *proxy.Breach
	}
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			done := make(chan outcome, 1)
			go func() {
				out := outcome{breach: &proxy.Breach{Symptom: spec.Panicked, Message: c.Op.Name + " ended its goroutine"}}
				defer func() {
					if r := recover(); r != nil {
						if b, ok := r.(*proxy.Breach); ok {
							out.breach = b
						} else {
							out.breach = &proxy.Breach{Symptom: spec.Panicked,
								Message: fmt.Sprintf("%s panicked: %v\n%s", c.Op.Name, r, panicSite(debug.Stack()))}
						}
					}
					done <- out
				}()
				err := next(c)
				out = outcome{err: err}
			}()
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			select {
			case out := <-done:
				if out.breach != nil {
					panic(out.breach)
				}
				return out.err
			case <-timer.C:
				panic(&proxy.Breach{Symptom: spec.TimedOut, Message: fmt.Sprintf("%s did not return within %v", c.Op.Name, timeout)})
			}
		}
	}
}

// panicSite keeps of a stack the frames from the panic to the first frame of
// this suite.
func panicSite(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") {
			lines = lines[i+2:]
			break
		}
	}
	for i, line := range lines {
		if strings.Contains(line, "/spec/proxy.") {
			lines = lines[:i]
			break
		}
	}
	return strings.Join(lines[:min(len(lines), 12)], "\n")
}

// guardWords is the number of elements of guard before and behind a buffer.
const guardWords = 16

// guard is a layer that hands every call copies of its arguments between guard
// words, and afterwards wants arguments and guards as they were. The capacity of
// an argument reaches into its guard, so that append is seen too. Destinations
// come with used memory in them, also between guards.
func guard(checked func()) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			var fences []*fence
			place := func(path string, buffer reflect.Value) reflect.Value {
				f := newFence(path, buffer)
				fences = append(fences, f)
				return f.inside
			}
			guarded := *c
			guarded.Args = relocate(c.Args, place).([]any)
			before := clone(guarded.Args)
			dst, dirty := usedDestination(c, place)
			guarded.Dst = dst
			err := next(&guarded)
			if d := differences(guarded.Args, before); d != "" {
				panic(&proxy.Breach{Symptom: spec.ChangedInput, Message: argumentPath(c, d)})
			}
			for _, f := range fences {
				if d := f.broken(); d != "" {
					panic(&proxy.Breach{Symptom: spec.ChangedInput, Message: argumentPath(c, f.path) + ": " + d})
				}
			}
			checked()
			if dirty && err == nil {
				reflect.ValueOf(c.Dst).Elem().Set(reflect.ValueOf(dst).Elem())
			}
			return err
		}
	}
}

// usedDestination returns a destination whose buffers are old memory, half as
// long as they could be, or the caller's own where there is none.
func usedDestination(c *proxy.Call, place func(string, reflect.Value) reflect.Value) (any, bool) {
	if c.Dst == nil || c.Op.IsQuery() {
		return c.Dst, false
	}
	dst := reflect.New(reflect.TypeOf(c.Dst).Elem())
	dirty(dst.Elem(), place)
	return dst.Interface(), true
}

// dirty fills nil buffers of v with memory that looks used, and has no capacity
// beyond its fence, and sets its numbers, strings and flags.
func dirty(v reflect.Value, place func(string, reflect.Value) reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range v.NumField() {
			dirty(v.Field(i), place)
		}
	case reflect.Slice:
		if isFlat(v.Type().Elem()) {
			old := reflect.MakeSlice(v.Type(), 48, 48)
			fill(old, 0xa5)
			v.Set(place("result", old).Slice3(0, 24, 48))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			dirty(v.Index(i), place)
		}
	default:
		fillNumber(v, 0xa5a5a5a5a5a5a5a5)
	}
}

// argumentPath turns "[1].Data[3]…" into the argument's name and what follows.
func argumentPath(c *proxy.Call, path string) string {
	for i, p := range c.Op.Args {
		if rest, ok := strings.CutPrefix(path, fmt.Sprintf("[%d]", i)); ok {
			return c.Op.Name + ": " + p.Name + rest
		}
	}
	return c.Op.Name + ": " + path
}

// A fence is a buffer between two guards in one allocation.
type fence struct {
	path   string
	whole  reflect.Value
	inside reflect.Value
}

func newFence(path string, buffer reflect.Value) *fence {
	n := buffer.Len()
	whole := reflect.MakeSlice(buffer.Type(), n+2*guardWords, n+2*guardWords)
	fill(whole, 0x5a)
	inside := whole.Slice3(guardWords, guardWords+n, guardWords+n+guardWords/2)
	reflect.Copy(inside, buffer)
	return &fence{path, whole, inside}
}

// broken says which guard word was written to, or "".
func (f *fence) broken() string {
	want := reflect.MakeSlice(f.whole.Type(), 1, 1)
	fill(want, 0x5a)
	n := f.inside.Len()
	for i := range f.whole.Len() {
		if i >= guardWords && i < guardWords+n {
			continue
		}
		if d := diffValue(f.whole.Index(i), want.Index(0), ""); d != "" {
			if i < guardWords {
				return fmt.Sprintf("element %d before its start was written to", guardWords-i)
			}
			return fmt.Sprintf("element %d past its end was written to", i-guardWords-n+1)
		}
	}
	return ""
}

// fill writes the same byte all over the numbers of a buffer; strings become that
// byte.
func fill(buffer reflect.Value, pattern byte) {
	for i := range buffer.Len() {
		fillNumber(buffer.Index(i), uint64(pattern)*0x0101010101010101)
	}
}

func fillNumber(v reflect.Value, word uint64) {
	switch v.Kind() {
	case reflect.Float32:
		v.SetFloat(float64(math.Float32frombits(uint32(word))))
	case reflect.Float64:
		v.SetFloat(math.Float64frombits(word))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(word) >> (64 - v.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(word >> (64 - v.Type().Bits()))
	case reflect.String:
		v.SetString(string([]byte{byte(word)}))
	case reflect.Struct:
		for i := range v.NumField() {
			fillNumber(v.Field(i), word)
		}
	}
}

// disown is a layer that takes all memory back after every call: it wants the
// result to share none with the arguments and with earlier results, copies it
// out, and overwrites both. What the module kept of them is then garbage, which
// shows in its later answers.
func disown(checked func()) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var earlier []any // kept alive, so that their addresses stay theirs
		return func(c *proxy.Call) error {
			lent := *c
			lent.Args = clone(c.Args).([]any)
			if c.Dst != nil {
				lent.Dst = reflect.New(reflect.TypeOf(c.Dst).Elem()).Interface()
			}
			err := next(&lent)
			if err == nil && c.Dst != nil {
				if path, shared := overlap(lent.Dst, lent.Args); shared {
					panic(&proxy.Breach{Symptom: spec.Aliased, Message: join(c.Op.Name, path) + " shares memory with an argument"})
				}
				for _, old := range earlier {
					if path, shared := overlap(lent.Dst, old); shared {
						panic(&proxy.Breach{Symptom: spec.Aliased, Message: join(c.Op.Name, path) + " shares memory with an earlier result"})
					}
				}
				earlier = append(earlier, lent.Dst)
				reflect.ValueOf(c.Dst).Elem().Set(reflect.ValueOf(clone(lent.Dst)).Elem())
				overwrite(lent.Dst)
			}
			overwrite(lent.Args)
			checked()
			return err
		}
	}
}

func overwrite(v any) {
	eachBuffer(v, func(_ string, buffer reflect.Value) { fill(buffer.Slice(0, buffer.Cap()), 0x77) })
	if v := reflect.ValueOf(v); v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Map {
		v.Elem().Clear()
	}
}

// overlap returns the path of a buffer of a that shares memory with one of b, and
// whether there is one.
func overlap(a, b any) (path string, shared bool) {
	type span struct{ from, to uintptr }
	spanOf := func(buffer reflect.Value) span {
		from := uintptr(unsafe.Pointer(buffer.Pointer()))
		return span{from, from + uintptr(buffer.Cap())*buffer.Type().Elem().Size()}
	}
	var spans []span
	eachBuffer(b, func(_ string, buffer reflect.Value) { spans = append(spans, spanOf(buffer)) })
	eachBuffer(a, func(at string, buffer reflect.Value) {
		s := spanOf(buffer)
		for _, other := range spans {
			if s.from < other.to && other.from < s.to {
				path, shared = at, true
			}
		}
	})
	return path, shared
}
