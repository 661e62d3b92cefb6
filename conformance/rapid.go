package conformance

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// rapidFlags guards rapid's knobs, which are global flags.
var rapidFlags sync.Mutex

// prepareRapid makes rapid usable outside go test, where nobody has called
// testing.Init and parsed the global flags: an empty command line is parsed for
// it. Inside go test both are done.
var prepareRapid = sync.OnceFunc(func() {
	if !testing.Testing() && !flag.Parsed() {
		testing.Init()
		flag.CommandLine.Parse(nil)
	}
})

// setRapid sets rapid's knobs for one property and returns what restores them.
// Nobody else may use them until then: it holds rapidFlags.
func setRapid(checks int, seed uint64, shrink string) (restore func()) {
	prepareRapid()
	rapidFlags.Lock()
	var undo []func()
	for name, value := range map[string]string{
		"rapid.checks":     fmt.Sprint(checks),
		"rapid.seed":       fmt.Sprint(seed),
		"rapid.shrinktime": shrink,
		"rapid.nofailfile": "true",
		"rapid.failfile":   "",
	} {
		before := flag.Lookup(name).Value.String()
		flag.Set(name, value)
		undo = append(undo, func() { flag.Set(name, before) })
	}
	return func() {
		for _, f := range undo {
			f()
		}
		rapidFlags.Unlock()
	}
}

// stopShrinking makes rapid report the failure at hand as it is.
func stopShrinking() { flag.Set("rapid.shrinktime", "0s") }

// property runs a rapid property to its end, in a goroutine of its own since
// rapid ends a failed one by leaving its goroutine. It returns rapid's complaint,
// or "". The property runs last on the input that rapid reports.
func property(name string, prop func(*rapid.T)) string {
	tb := &quietTB{name: name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		rapid.Check(tb, prop)
	}()
	<-done
	if !tb.failed {
		return ""
	}
	return strings.TrimSpace(tb.log.String())
}

// quietTB is the testing.TB that rapid reports to: it keeps what is said.
type quietTB struct {
	name   string
	failed bool
	log    strings.Builder
}

func (t *quietTB) Helper()                        {}
func (t *quietTB) Name() string                   { return t.name }
func (t *quietTB) Logf(format string, a ...any)   {}
func (t *quietTB) Log(a ...any)                   {}
func (t *quietTB) Skipf(format string, a ...any)  { t.SkipNow() }
func (t *quietTB) Skip(a ...any)                  { t.SkipNow() }
func (t *quietTB) SkipNow()                       { runtime.Goexit() }
func (t *quietTB) Errorf(format string, a ...any) { fmt.Fprintf(&t.log, format+"\n", a...); t.Fail() }
func (t *quietTB) Error(a ...any)                 { fmt.Fprintln(&t.log, a...); t.Fail() }
func (t *quietTB) Fatalf(format string, a ...any) { t.Errorf(format, a...); t.FailNow() }
func (t *quietTB) Fatal(a ...any)                 { t.Error(a...); t.FailNow() }
func (t *quietTB) FailNow()                       { t.failed = true; runtime.Goexit() }
func (t *quietTB) Fail()                          { t.failed = true }
func (t *quietTB) Failed() bool                   { return t.failed }
