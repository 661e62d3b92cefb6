//go:build unix

package adapter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/adapter"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

// The adapters of these tests are this test binary, told by the environment which
// fake to be. A fake answers for ref, and what is wrong with it is done to what it
// reads and writes.
const (
	fakeName = "SQUISHSPEC_FAKE"
	fakeRun  = "SQUISHSPEC_FAKE_RUN" // marks the processes of one test
)

func TestMain(m *testing.M) {
	if name := os.Getenv(fakeName); name != "" {
		fakes[name].run()
		os.Exit(0)
	}
	flag.Parse()
	flag.Set("test.parallel", "8") // most of the time is spent waiting for fakes
	os.Exit(m.Run())
}

// A fake is an adapter with something wrong.
type fake struct {
	// begin happens before anything is read.
	begin func()
	// answer writes the answer to a request, as ref would give it, or something
	// else; nil for an adapter that just answers.
	answer func(request, answer *wire.Frame)

	// What a call of quantize on it ends with: a symptom, "" for none, and what the
	// message says.
	symptom spec.Symptom
	says    []string
	// What its start ends with, where that is an error.
	refuses []string
	// timeout is small for a fake whose answers do not come, and startTimeout for one
	// whose first does not.
	timeout, startTimeout time.Duration
}

// run is the adapter's main: ref's answers come from adapter.Serve.
func (f fake) run() {
	if f.begin != nil {
		f.begin()
	}
	requests, toServe := io.Pipe()
	fromServe, answers := io.Pipe()
	go func() {
		adapter.Serve(requests, answers, ref.Implementation())
		answers.Close()
	}()
	for {
		request, err := wire.Read(os.Stdin)
		if err != nil {
			return
		}
		wire.Write(toServe, request)
		answer, err := wire.Read(fromServe)
		if err != nil {
			return
		}
		if f.answer == nil {
			wire.Write(os.Stdout, answer)
		} else {
			f.answer(request, answer)
		}
	}
}

// toQuantize is a fake that errs when it is asked to quantize only.
func toQuantize(err func(answer *wire.Frame)) func(request, answer *wire.Frame) {
	return func(request, answer *wire.Frame) {
		if request.Metadata["op"] == "quantize" {
			err(answer)
		} else {
			wire.Write(os.Stdout, answer)
		}
	}
}

// changed writes the answer to quantize after a change.
func changed(change func(answer *wire.Frame)) func(request, answer *wire.Frame) {
	return toQuantize(func(answer *wire.Frame) {
		change(answer)
		wire.Write(os.Stdout, answer)
	})
}

// instead writes other bytes than the answer to quantize.
func instead(data []byte) func(request, answer *wire.Frame) {
	return toQuantize(func(*wire.Frame) { os.Stdout.Write(data) })
}

func whole(f *wire.Frame) []byte {
	data, err := f.Bytes()
	if err != nil {
		panic(err)
	}
	return data
}

func length(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func sleepForever() { time.Sleep(time.Hour) }

// spawn leaves a process behind, which holds this one's pipes.
func spawn() {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fakeName+"=a sleeper")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		panic(err)
	}
}

const short = time.Second

var fakes = map[string]fake{
	"an honest one": {},
	"a sleeper":     {begin: func() { time.Sleep(time.Hour) }, startTimeout: short, refuses: []string{"hello: no answer within 1s: frame: read 0 of 8 bytes of its header length"}},

	"hangs":               {answer: toQuantize(func(*wire.Frame) { sleepForever() }), timeout: short, symptom: spec.TimedOut, says: []string{"quantize: no answer within 1s", "read 0 of 8 bytes of its header length"}},
	"hangs in mid-frame":  {answer: toQuantize(func(a *wire.Frame) { os.Stdout.Write(whole(a)[:11]); sleepForever() }), timeout: short, symptom: spec.TimedOut, says: []string{"read 3 of ", " bytes of its header;", `its stdout is "`}},
	"claims a gigabyte":   {answer: toQuantize(claimAGigabyte), timeout: short, symptom: spec.TimedOut, says: []string{"read 100 of 1073741000 bytes of its tensors"}},
	"dribbles":            {answer: toQuantize(dribble), timeout: short, symptom: spec.TimedOut, says: []string{"bytes of its header"}},
	"dies":                {answer: toQuantize(func(*wire.Frame) { fmt.Fprintln(os.Stderr, "first\nlast words"); os.Exit(3) }), symptom: spec.Crashed, says: []string{"quantize: no answer; it ended with exit status 3", "its stderr ends with\n  first\n  last words"}},
	"dies of a signal":    {answer: toQuantize(func(*wire.Frame) { signal.Reset(); syscall.Kill(os.Getpid(), syscall.SIGTERM); sleepForever() }), symptom: spec.Crashed, says: []string{"it ended with signal: terminated"}},
	"dies in mid-frame":   {answer: toQuantize(func(a *wire.Frame) { os.Stdout.Write(whole(a)[:100]); os.Exit(4) }), symptom: spec.Crashed, says: []string{"half an answer: frame: read 92 of ", " bytes of its header", "exit status 4"}},
	"closes its stdout":   {answer: toQuantize(func(*wire.Frame) { os.Stdout.Close(); sleepForever() }), symptom: spec.Crashed, says: []string{"no answer"}},
	"splits frames":       {answer: split},
	"answers twice":       {answer: toQuantize(func(a *wire.Frame) { os.Stdout.Write(append(whole(a), whole(a)...)) }), symptom: spec.Crashed, says: []string{"bytes behind its answer"}},
	"answers out of turn": {answer: outOfTurn(), symptom: spec.Crashed, says: []string{"quantize: id: want ", ", got "}},
	"another id":          {answer: changed(func(a *wire.Frame) { a.Metadata["id"] = "7000" }), symptom: spec.Crashed, says: []string{`id: want "`, `got "7000"`}},
	"no id":               {answer: changed(func(a *wire.Frame) { delete(a.Metadata, "id") }), symptom: spec.Crashed, says: []string{"got none"}},
	"no status":           {answer: changed(func(a *wire.Frame) { delete(a.Metadata, "status") }), symptom: spec.Crashed, says: []string{"status: want one of ok, rejected, unsupported, error, got none"}},
	"another status":      {answer: changed(func(a *wire.Frame) { a.Metadata["status"] = "fine" }), symptom: spec.Crashed, says: []string{`got "fine"`}},
	"fails":               {answer: changed(func(a *wire.Frame) { a.Metadata["status"], a.Metadata["message"] = "error", "out of luck" }), symptom: spec.Crashed, says: []string{"the adapter failed: out of luck"}},
	"no handle": {answer: func(r, a *wire.Frame) { delete(a.Metadata, "handle"); wire.Write(os.Stdout, a) }, symptom: spec.Crashed,
		refuses: []string{"new", "handle: want one, got none"}},
	"no out":              {answer: changed(func(a *wire.Frame) { delete(a.Metadata, "out"); a.Tensors = nil }), symptom: spec.Crashed, says: []string{"quantize: ternary-quant: ternary: want a value, got none"}},
	"half an out":         {answer: changed(func(a *wire.Frame) { a.Metadata["out"] = `{"ternary":{"tensor":"ternary"}}` }), symptom: spec.Crashed, says: []string{"scale: want a value, got none"}},
	"more of an out":      {answer: changed(func(a *wire.Frame) { a.Metadata["out"] = strings.Replace(a.Metadata["out"], "{", `{"zeros":1,`, 1) }), symptom: spec.Crashed, says: []string{"zeros: want no such name"}},
	"out that is no JSON": {answer: changed(func(a *wire.Frame) { a.Metadata["out"] = `{"ternary":` }), symptom: spec.Crashed, says: []string{"quantize: ternary-quant: out: want"}},
	"null":                {answer: changed(func(a *wire.Frame) { a.Metadata["out"] = `{"ternary":null,"scale":1}`; a.Tensors = nil }), symptom: spec.Crashed, says: []string{"ternary: want a value, got null"}},
	"another dtype":       {answer: changed(func(a *wire.Frame) { t := &a.Tensors[0]; t.DType, t.Data = wire.F32, make([]byte, 4*len(t.Data)) }), symptom: spec.Crashed, says: []string{"ternary: want elements of an integer dtype, got dtype F32"}},
	"a wider dtype":       {answer: changed(widen)},
	"a tensor not there":  {answer: changed(func(a *wire.Frame) { a.Tensors = nil }), symptom: spec.Crashed, says: []string{"with a tensor of the frame"}},
	"a tensor too many": {answer: changed(func(a *wire.Frame) {
		a.Tensors = append(a.Tensors, wire.Tensor{Name: "more", DType: wire.U8, Shape: []int{0}})
	}), symptom: spec.Crashed, says: []string{`tensors that nothing refers to: ["more"]`}},
	"a header of 2⁶³":       {answer: instead(length(1 << 63)), symptom: spec.Crashed, says: []string{"not a frame: header length: want 1 to 1048576, got 9223372036854775808"}},
	"a header of 1 MiB + 1": {answer: instead(length(wire.MaxHeader + 1)), symptom: spec.Crashed, says: []string{"got 1048577"}},
	"an offset of 2⁶⁴-1":    {answer: instead(blob(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}}`)), symptom: spec.Crashed, says: []string{"not a frame"}},
	"garbage":               {answer: toQuantize(garbage), symptom: spec.Crashed, says: []string{"not a frame"}},
	"prints":                {answer: toQuantize(func(a *wire.Frame) { fmt.Println("debug: quantizing"); wire.Write(os.Stdout, a) }), symptom: spec.Crashed, says: []string{"not a frame", `its stdout is "debug: quantizing\n`}},
	"floods stdout":         {answer: toQuantize(func(*wire.Frame) { flood(os.Stdout, 1<<40) }), symptom: spec.Crashed, says: []string{"not a frame"}},
	"floods behind a frame": {answer: toQuantize(func(a *wire.Frame) {
		os.Stdout.Write(append(whole(a), make([]byte, 1000)...))
		flood(os.Stdout, 1<<40)
	}), symptom: spec.Crashed, says: []string{"bytes behind its answer"}},
	"floods stderr":          {answer: toQuantize(func(a *wire.Frame) { flood(os.Stderr, 32<<20); wire.Write(os.Stdout, a) })},
	"ignores stop":           {begin: func() { signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE) }, answer: ignoreStop},
	"leaves children behind": {begin: func() { spawn(); spawn() }},
	"dies and leaves a child with its pipes": {begin: spawn, answer: toQuantize(func(*wire.Frame) { os.Exit(5) }), timeout: short,
		symptom: spec.Crashed, says: []string{"it ended with exit status 5"}},

	"does not read":    {begin: func() { time.Sleep(time.Hour) }, startTimeout: short, refuses: []string{"hello: no answer"}},
	"ends at once":     {begin: func() { os.Exit(0) }, refuses: []string{"hello: ", "it ended with exit status 0"}},
	"a banner":         {begin: func() { fmt.Println("mylib 2.1, ready.") }, refuses: []string{"not a frame", `its stdout is "mylib 2.1, ready.\n`}},
	"an empty line":    {begin: func() { fmt.Println() }, startTimeout: 3 * short, refuses: []string{"hello: no answer within 3s", `its stdout is "\n`}},
	"protocol 2":       {answer: toHello("protocol", "2"), refuses: []string{`hello: protocol: want 1, got "2"`}},
	"no protocol":      {answer: toHello("protocol", ""), refuses: []string{`hello: protocol: want 1, got ""`}},
	"refuses protocol": {answer: toHello("status", "error"), refuses: []string{`hello: status: want ok, got "error"`}},
	"offers nothing":   {answer: toHello("offers", "[]"), refuses: []string{"offers: want modules"}},
	"offers nonsense":  {answer: toHello("offers", `["nonsense"]`), refuses: []string{"Offers: want module", "nonsense"}},
	"offers no list":   {answer: toHello("offers", `ternary-quant`), refuses: []string{"offers: want a list of modules"}},
	"a roundoff of 3":  {answer: toHello("unit_roundoff", "3"), refuses: []string{"unit_roundoff: want a number between 0 and 1"}},
	"no name":          {answer: toHello("name", ""), refuses: []string{"Name: want a name"}},
	"changes its mind": {answer: changesItsMind},
	"counts":           {answer: countInstances()},
	"hangs at close":   {answer: hangAtClose, timeout: short, refuses: []string{"close: no answer within 1s"}},
}

func toHello(key, value string) func(request, answer *wire.Frame) {
	return func(request, answer *wire.Frame) {
		if request.Metadata["cmd"] == "hello" {
			answer.Metadata[key] = value
		}
		wire.Write(os.Stdout, answer)
	}
}

func claimAGigabyte(*wire.Frame) {
	os.Stdout.Write(blob(`{"a":{"dtype":"U8","shape":[1073741000],"data_offsets":[0,1073741000]}}`))
	os.Stdout.Write(make([]byte, 100))
	sleepForever()
}

func blob(header string) []byte { return append(length(uint64(len(header))), header...) }

func dribble(a *wire.Frame) {
	for _, b := range whole(a) {
		os.Stdout.Write([]byte{b})
		time.Sleep(50 * time.Millisecond)
	}
}

func split(_, a *wire.Frame) {
	for _, b := range whole(a) {
		os.Stdout.Write([]byte{b})
	}
}

// outOfTurn answers each quantize with the answer before.
func outOfTurn() func(request, answer *wire.Frame) {
	var before *wire.Frame
	return func(request, answer *wire.Frame) {
		if request.Metadata["op"] == "quantize" {
			wire.Write(os.Stdout, before)
		} else {
			wire.Write(os.Stdout, answer)
		}
		before = answer
	}
}

// widen says the same codes in I64: no error.
func widen(a *wire.Frame) {
	t := &a.Tensors[0]
	var data []byte
	for _, b := range t.Data {
		data = binary.LittleEndian.AppendUint64(data, uint64(int8(b)))
	}
	t.DType, t.Data = wire.I64, data
}

func garbage(*wire.Frame) {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1000)
	for i := range data {
		data[i] = byte(r.Uint32()) | 1
	}
	os.Stdout.Write(data)
}

func flood(w io.Writer, size int) {
	line := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 100)
	for range size / len(line) {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}

// ignoreStop goes on when it should stop, and when its input ends.
func ignoreStop(request, answer *wire.Frame) {
	wire.Write(os.Stdout, answer)
	if request.Metadata["op"] == "quantize" {
		go func() {
			for {
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for {
			frame, err := wire.Read(os.Stdin)
			if err != nil || frame.Metadata["cmd"] == "stop" {
				sleepForever()
			}
		}
	}
}

func hangAtClose(request, answer *wire.Frame) {
	if request.Metadata["cmd"] == "close" {
		sleepForever()
	}
	wire.Write(os.Stdout, answer)
}

// changesItsMind dies of dequantize, and has another version in every process.
func changesItsMind(request, answer *wire.Frame) {
	if request.Metadata["op"] == "dequantize" {
		os.Exit(6)
	}
	toHello("version", fmt.Sprint(os.Getpid()))(request, answer)
}

// countInstances fails when more than a few instances are open at once.
func countInstances() func(request, answer *wire.Frame) {
	open := 0
	return func(request, answer *wire.Frame) {
		switch {
		case answer.Metadata["handle"] != "":
			open++
		case request.Metadata["cmd"] == "close":
			open--
		}
		if open > 4 {
			answer.Metadata["status"], answer.Metadata["message"] = "error", fmt.Sprintf("%d instances are open", open)
		}
		wire.Write(os.Stdout, answer)
	}
}

// command is the command line of a fake, marked as this run's.
func command(name, run string) []string {
	const noDelay = "GORACE=atexit_sleep_ms=0" // the race detector's processes sleep a second before they end
	return []string{"env", fakeName + "=" + name, fakeRun + "=" + run, noDelay, os.Args[0]}
}

// begin starts a fake, and wants it and all that it left behind gone in the end.
func begin(t *testing.T, name string, validate bool) (*adapter.Process, error) {
	t.Helper()
	run := fmt.Sprintf("squishspec-fake-%d-%d", os.Getpid(), rand.Uint64())
	timeout := fakes[name].timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	p, err := adapter.Start(context.Background(), command(name, run), adapter.Options{Timeout: timeout, StartTimeout: fakes[name].startTimeout, Validate: validate})
	t.Cleanup(func() {
		if p != nil {
			p.Close()
		}
		wantNone(t, run)
	})
	return p, err
}

// wantNone wants no process of a run to be left. What was killed may take a moment
// to go.
func wantNone(t *testing.T, run string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Log("processes left behind are looked for on Linux only")
		return
	}
	var left []string
	for range 500 {
		if left = processes(run); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("left behind: %q", left)
}

// processes lists the processes whose environment has a mark. That of one that has
// ended is empty.
func processes(mark string) (list []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if environ, err := os.ReadFile(file); err == nil && bytes.Contains(environ, []byte(mark)) {
			status, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
			list = append(list, string(status))
		}
	}
	return list
}

// quantize makes an instance and a call, and returns what it ends with.
func quantize(impl spec.Implementation) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(*proxy.Breach)
			if !ok {
				panic(r)
			}
			err = b
		}
	}()
	q, err := impl.TernaryQuant(spec.DefaultTernaryQuantConfig())
	if err != nil {
		return err
	}
	var out spec.TernaryWeights
	if err := q.Quantize(&out, []float32{1, -1, 0.1, 0}); err != nil {
		return err
	}
	if want := (spec.TernaryWeights{Codes: []int8{1, -1, 0, 0}, Scale: 0.525}); fmt.Sprint(out) != fmt.Sprint(want) {
		return fmt.Errorf("got %v, want %v", out, want)
	}
	return nil
}

func wantText(t *testing.T, text string, wants []string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want %q in it", text, want)
		}
	}
}

// TestEveryFakeIsSurvived: whatever an adapter does, the call ends, says what
// happened, and the next instance works, in a new process where the old one failed.
func TestEveryFakeIsSurvived(t *testing.T) {
	for name, f := range fakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := begin(t, name, name == "a tensor too many")
			if err == nil {
				err = p.Smoke()
			}
			if f.refuses != nil {
				if err == nil {
					t.Fatal("it starts, and answers")
				}
				wantText(t, err.Error(), f.refuses)
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("more than a line: %q", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			impl := p.Implementation()
			got := quantize(impl)
			if f.symptom == "" {
				if got != nil {
					t.Error(got)
				}
				return
			}
			breach, ok := got.(*proxy.Breach)
			if !ok || breach.Symptom != f.symptom {
				t.Fatalf("got %v, want it %s", got, f.symptom)
			}
			wantText(t, breach.Message, f.says)
			restarts := p.Traffic().Restarts
			again, err := impl.TernaryQuant(spec.DefaultTernaryQuantConfig())
			if err != nil || again.Stats().Calls != 0 {
				t.Errorf("an instance after it: %v", err)
			}
			if got := p.Traffic().Restarts - restarts; got != 1 {
				t.Errorf("restarted %d times, want once", got)
			}
		})
	}
}

// breachOf returns the breach with which f ends, or nil.
func breachOf(f func()) (breach *proxy.Breach) {
	defer func() {
		if r := recover(); r != nil {
			breach = r.(*proxy.Breach)
		}
	}()
	f()
	return nil
}

func TestAnotherAdapterAfterARestartIsABreach(t *testing.T) {
	p, err := begin(t, "changes its mind", false)
	if err != nil {
		t.Fatal(err)
	}
	impl := p.Implementation()
	q, err := impl.TernaryQuant(spec.DefaultTernaryQuantConfig())
	if err != nil {
		t.Fatal(err)
	}
	if b := breachOf(func() { q.Dequantize(new([]float32), []int8{1}, 1) }); b == nil || b.Symptom != spec.Crashed {
		t.Errorf("got %v, want it crashed", b)
	}
	if b := breachOf(func() { q.Stats() }); b == nil || !strings.Contains(b.Message, "the process that had this instance has ended") {
		t.Errorf("a call on an instance that is gone: got %v", b)
	}
	if b := breachOf(func() { impl.TernaryQuant(spec.DefaultTernaryQuantConfig()) }); b == nil || !strings.Contains(b.Message, "after a restart it is another one") {
		t.Errorf("got %v", b)
	}
}

// check runs the suite on a fake, with few tries.
func check(t *testing.T, name string, opts ...conformance.Option) conformance.Report {
	t.Helper()
	p, err := begin(t, name, true)
	if err != nil {
		t.Fatal(err)
	}
	report := conformance.Check(p.Implementation(), append([]conformance.Option{conformance.Checks(3)}, opts...)...)
	if report.Misuse != nil {
		t.Fatal(report.Misuse)
	}
	return report
}

func TestHonestAdapterPassesAndEveryFrameIsOfTheProtocol(t *testing.T) {
	report := check(t, "an honest one", conformance.Modules("ternary-quant", "cross-doc-attn"))
	for _, r := range report.Results {
		if r.Status != conformance.Passed {
			t.Errorf("%s: %s: %s", r.Requirement, r.Status, r.Message)
		}
	}
}

// TestALapseCostsItsRequirement: a requirement whose calls work is judged all the
// same, in a new process.
func TestALapseCostsItsRequirement(t *testing.T) {
	for name, want := range map[string]spec.Symptom{"dies": spec.Crashed, "hangs": spec.TimedOut, "answers twice": spec.Crashed} {
		t.Run(name, func(t *testing.T) {
			report := check(t, name, conformance.Requirements("ternary-quant/alphabet", "ternary-quant/dequantize", "ternary-quant/bad-config"))
			for _, r := range report.Results {
				status, symptom := conformance.Passed, spec.Symptom("")
				if r.Requirement == "ternary-quant/alphabet" {
					status, symptom = conformance.Failed, want
				}
				if r.Status != status || r.Symptom != symptom {
					t.Errorf("%s: got %s %s, want %s %s: %s", r.Requirement, r.Status, r.Symptom, status, symptom, r.Message)
				}
			}
		})
	}
}

func TestAHangAtCloseCostsItsRequirement(t *testing.T) {
	report := check(t, "hangs at close", conformance.Requirements("ternary-quant/alphabet"))
	if r := report.Results[0]; r.Status != conformance.Failed || r.Symptom != spec.TimedOut || !strings.Contains(r.Message, "close: no answer within") {
		t.Errorf("got %s %s: %s", r.Status, r.Symptom, r.Message)
	}
}

func TestInstancesAreClosedAfterEveryTry(t *testing.T) {
	report := check(t, "counts", conformance.Requirements("ternary-quant/odd", "ternary-quant/errors-change-nothing"), conformance.Checks(20))
	for _, r := range report.Results {
		if r.Status != conformance.Passed {
			t.Errorf("%s: %s: %s", r.Requirement, r.Status, r.Message)
		}
	}
	p, err := begin(t, "counts", false)
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := conformance.Replay(p.Implementation(), filepath.Join("..", "..", "golden", "ternary-quant"))
	if err != nil || replayed.Failed > 0 || replayed.Passed < 10 {
		t.Errorf("replay: %s, %v, %q", replayed.Summary(), err, replayed.Failures)
	}
}

func TestReplayGivesUpAModuleAfterThreeCrashes(t *testing.T) {
	p, err := begin(t, "dies", false)
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := conformance.Replay(p.Implementation(), filepath.Join("..", "..", "golden", "ternary-quant"))
	crashed, unrun := 0, 0
	for _, line := range replayed.Failures {
		switch {
		case strings.Contains(line, "not run"):
			unrun++
		case strings.Contains(line, "exit status 3"):
			crashed++
		default:
			t.Error(line)
		}
	}
	if err != nil || crashed != 3 || unrun == 0 {
		t.Errorf("%d cases crashed and %d were not run, want 3 and the rest (%v)", crashed, unrun, err)
	}
}

func TestAfterThreeCrashesTheRestOfAModuleIsNotRun(t *testing.T) {
	report := check(t, "dies", conformance.Modules("ternary-quant", "delta-compress"), conformance.Checks(1))
	unrun, restarts := 0, 0
	for _, r := range report.Results {
		switch module, _, _ := strings.Cut(r.Requirement, "/"); {
		case strings.Contains(r.Message, "not run"):
			unrun++
		case r.Symptom == spec.Crashed:
			restarts++
		case module == "delta-compress" && r.Status != conformance.Passed && r.Symptom != spec.Vacuous:
			t.Errorf("%s: %s: %s", r.Requirement, r.Symptom, r.Message)
		}
	}
	if restarts != 3 || unrun == 0 {
		t.Errorf("%d requirements crashed and %d were not run, want 3 and the rest", restarts, unrun)
	}
}

func TestInterruptedAdapterLeavesAnIncompleteReport(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	run := fmt.Sprintf("squishspec-fake-%d-%d", os.Getpid(), rand.Uint64())
	p, err := adapter.Start(ctx, command("hangs", run), adapter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer wantNone(t, run)
	defer p.Close()
	time.AfterFunc(100*time.Millisecond, cancel)
	report := conformance.Check(p.Implementation(), conformance.Context(ctx), conformance.Modules("ternary-quant"))
	if report.Complete || len(report.Results) > 0 {
		t.Errorf("complete %v, %d results", report.Complete, len(report.Results))
	}
}

func TestTimesAreTakenInside(t *testing.T) {
	p, err := begin(t, "an honest one", true)
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.Implementation().TernaryQuant(spec.DefaultTernaryQuantConfig())
	if err != nil {
		t.Fatal(err)
	}
	var out spec.TernaryWeights
	took, err := p.Time(5, func() error {
		for range 2 {
			if err := q.Quantize(&out, make([]float32, 1000)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || took <= 0 || out.Codes != nil {
		t.Errorf("took %v, wrote %v, %v", took, out, err)
	}
	if _, err := p.Time(1, func() error { return q.Quantize(&out, nil) }); spec.KindOf(err) != spec.Invalid {
		t.Errorf("a refused call: got %v", err)
	}
	if stats := q.Stats(); stats.Calls != 10 {
		t.Errorf("%d calls were made, want 10", stats.Calls)
	}
}

// TestMemoryIsBounded: what an adapter claims or floods is not held.
func TestMemoryIsBounded(t *testing.T) {
	for _, name := range []string{"a header of 2⁶³", "claims a gigabyte", "floods stderr", "floods stdout"} {
		p, err := begin(t, name, false)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		quantize(p.Implementation())
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
			t.Errorf("%s: allocated %d bytes", name, got)
		}
	}
}

func TestStartRefusesWhatCannotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "no-program")
	if err := os.WriteFile(file, []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, command := range map[string][]string{
		"a program and its arguments":   nil,
		"no-program: permission denied": {file},
		"no such file or directory":     {file + "-missing"},
		"executable file not found":     {"squishspec-no-such-program"},
	} {
		p, err := adapter.Start(context.Background(), command, adapter.Options{})
		if p != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q in a line", command, err, want)
		}
	}
	if _, err := adapter.Start(context.Background(), []string{"cat"}, adapter.Options{Timeout: -1}); spec.KindOf(err) != spec.Invalid {
		t.Errorf("a time-out of -1: got %v", err)
	}
}
