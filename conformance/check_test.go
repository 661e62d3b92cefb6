package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"math"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

func TestRefConforms(t *testing.T)  { Run(t, ref.Implementation()) }
func TestFastConforms(t *testing.T) { Run(t, fast.Implementation()) }

// only runs one requirement on ref behind a layer.
func only(t *testing.T, id string, layer proxy.Layer, opts ...Option) Result {
	t.Helper()
	report := Check(proxy.Wrap(ref.Implementation(), layer), append([]Option{Requirements(id)}, opts...)...)
	if report.Misuse != nil || len(report.Results) != 1 {
		t.Fatalf("got %d results, misuse %v", len(report.Results), report.Misuse)
	}
	if report.Complete {
		t.Error("a filtered run calls itself complete")
	}
	return report.Results[0]
}

func same(next proxy.Handler) proxy.Handler { return next }

func TestNothingCheckedFails(t *testing.T) {
	m := &module{spec: spec.ModuleByName("ternary-quant"), laws: map[string]func(*trial){"alphabet": func(*trial) {}}}
	o := options{ctx: context.Background(), checks: 20, seed: 1, timeout: time.Second}
	got := o.checkRequirement(ref.Implementation(), m, m.spec.Requirement("ternary-quant/alphabet"), false)
	if got.Status != Failed || got.Symptom != spec.Vacuous {
		t.Errorf("a check that asserts nothing: got %s %s, want it failed as vacuous", got.Status, got.Symptom)
	}
	empty := Check(spec.Implementation{Name: "nothing"})
	if empty.OK() {
		t.Errorf("an implementation that offers nothing passes: %s", empty.Summary())
	}
}

func TestSeedDecidesTheInputs(t *testing.T) {
	seen := func(seed uint64) string {
		var calls strings.Builder
		only(t, "ternary-quant/alphabet", after("quantize", func(c *proxy.Call) {
			calls.WriteString(describeArgs(step{c.Op, c.Args}))
		}), Seed(seed), Checks(5))
		return calls.String()
	}
	first, again, other := seen(7), seen(7), seen(8)
	if first != again {
		t.Error("the same seed draws different inputs")
	}
	if first == other {
		t.Error("different seeds draw the same inputs")
	}
}

func TestRapidSettingsAreRestored(t *testing.T) {
	before := flag.Lookup("rapid.checks").Value.String()
	only(t, "ternary-quant/alphabet", same, Checks(3))
	if after := flag.Lookup("rapid.checks").Value.String(); after != before {
		t.Errorf("rapid.checks is %s after a run, and was %s", after, before)
	}
}

func TestCallThatHangsTimesOut(t *testing.T) {
	never := make(chan struct{})
	var calls atomic.Int32 // what hangs still runs when the check has ended
	hang := before("quantize", func(*proxy.Call) {
		calls.Add(1)
		<-never
	})
	got := only(t, "ternary-quant/alphabet", hang, Timeout(20*time.Millisecond))
	if got.Status != Failed || got.Symptom != spec.TimedOut {
		t.Errorf("got %s %s, want it timed out", got.Status, got.Symptom)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("called %d times, want no more after the first hang", n)
	}
}

func TestAfterThreeLostRequirementsTheModuleIsNotRun(t *testing.T) {
	never := make(chan struct{})
	var calls atomic.Int32 // what hangs still runs when the check has ended
	hang := before("new", func(*proxy.Call) {
		calls.Add(1)
		<-never
	})
	report := Check(proxy.Wrap(ref.Implementation(), hang), Modules("ternary-quant"), Timeout(5*time.Millisecond))
	if n := calls.Load(); n != maxLost {
		t.Errorf("called %d times, want %d", n, maxLost)
	}
	for i, r := range report.Results {
		want := spec.TimedOut
		if i >= maxLost {
			want = spec.Crashed
		}
		if r.Symptom != want {
			t.Errorf("%s: got %s, want %s", r.Requirement, r.Symptom, want)
		}
	}
}

func TestPanicIsAFailureAndNotACrash(t *testing.T) {
	got := only(t, "ternary-quant/scale", before("quantize", func(*proxy.Call) { panic("oh no") }))
	if got.Status != Failed || got.Symptom != spec.Panicked || !strings.Contains(got.Message, "oh no") {
		t.Errorf("got %s %s: %s", got.Status, got.Symptom, got.Message)
	}
}

func TestKnownFailures(t *testing.T) {
	wrong := onCodes(func(_ []float32, out *spec.TernaryWeights) { out.Scale++ })
	known := func(symptom spec.Symptom) Option {
		return KnownFailures(KnownFailure{"ternary-quant/scale", symptom, "our scale is one too large"})
	}
	for _, test := range []struct {
		name  string
		layer proxy.Layer
		opts  []Option
		want  Status
	}{
		{"fails as known", wrong, []Option{known(spec.Differs)}, Known},
		{"fails otherwise", wrong, []Option{known(spec.Panicked)}, Failed},
		{"passes", same, []Option{known(spec.Differs)}, Failed},
		{"passes in fewer tries than the default", same, []Option{known(spec.Differs), Checks(5)}, Passed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := only(t, "ternary-quant/scale", test.layer, test.opts...); got.Status != test.want {
				t.Errorf("got %s, want %s: %s", got.Status, test.want, got.Message)
			}
		})
	}
}

func TestKnownFailuresFile(t *testing.T) {
	got, err := ParseKnownFailures(strings.NewReader("# a comment\n\nternary-quant/scale differs  # sums in half precision\n"))
	if want := (KnownFailure{"ternary-quant/scale", spec.Differs, "sums in half precision"}); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{
		"ternary-quant/scale",
		"ternary-quant/scale differs",
		"ternary-quant/scale differs #",
		"ternary-quant/scale sometimes # why",
		"ternary-quant/nonsense differs # why",
		"ternary-quant/scale differs more # why",
		"ternary-quant/scale differs # why\nternary-quant/scale differs # again",
	} {
		if _, err := ParseKnownFailures(strings.NewReader(bad)); spec.KindOf(err) != spec.Invalid {
			t.Errorf("%q: got %v, want it refused", bad, err)
		}
	}
}

func TestShouldIsAWarning(t *testing.T) {
	got := only(t, "ternary-quant/error-kinds", wrongKinds)
	if got.Status != Warning {
		t.Errorf("got %s, want a warning", got.Status)
	}
	report := Report{Results: []Result{got, {Requirement: "ternary-quant/scale", Status: Passed}}}
	if !report.OK() {
		t.Error("a warning decides the verdict")
	}
	if want := "2 requirements: 1 passed, 0 failed, 0 known failures, 0 not offered, 1 warnings; 1 of 28 modules"; report.Summary() != want {
		t.Errorf("got %q, want %q", report.Summary(), want)
	}
}

func TestWhatIsNotOfferedIsNeverCalled(t *testing.T) {
	impl := ref.Implementation()
	impl.Offers = nil
	spy := before("pack_base3", func(*proxy.Call) { t.Error("pack_base3 was called") })
	squish := before("new", func(c *proxy.Call) {
		if config, ok := c.Args[0].(spec.CotCompressConfig); ok && config.Variant == spec.Squish6 {
			t.Error("variant squish6 was called")
		}
	})
	report := Check(proxy.Wrap(impl, spy, squish), Modules("ternary-quant", "cot-compress"), Checks(10))
	if c := report.Counts(); c.NotOffered == 0 || c.Failed > 0 {
		t.Error(report.Summary())
	}
}

func TestMisuseIsSaid(t *testing.T) {
	for name, report := range map[string]Report{
		"no name":             Check(spec.Implementation{}),
		"no tries":            Check(ref.Implementation(), Checks(0)),
		"seed 0":              Check(ref.Implementation(), Seed(0)),
		"unknown module":      Check(ref.Implementation(), Modules("nonsense")),
		"unknown requirement": Check(ref.Implementation(), Requirements("ternary-quant/nonsense")),
	} {
		if spec.KindOf(report.Misuse) != spec.Invalid || report.OK() {
			t.Errorf("%s: got %v", name, report.Misuse)
		}
	}
}

func TestInterruptedRunIsIncomplete(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	report := Check(ref.Implementation(), Context(ctx), Checks(2), Progress(func(Result) { cancel() }))
	if report.Complete || len(report.Results) != 1 {
		t.Errorf("got %d results, complete %v", len(report.Results), report.Complete)
	}
}

func TestReportFollowsItsSchema(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(ResultsSchema))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("results.json", document); err != nil {
		t.Fatal(err)
	}
	schema := compiler.MustCompile("results.json")
	var written bytes.Buffer
	for _, layer := range []proxy.Layer{same, addOne, wrongKinds, countRefusals} {
		report := Check(proxy.Wrap(ref.Implementation(), layer), Modules("ternary-quant"), Checks(5), Shrink(0),
			KnownFailures(KnownFailure{"ternary-quant/equivalence", spec.Differs, "as a test"}))
		if err := report.WriteNDJSON(&written); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(written.String()), "\n")
	for _, line := range lines {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s\n%v", line, err)
		}
	}
	for _, wrong := range []string{`{}`, `{"type":"result"}`, strings.Replace(lines[0], `"complete":false`, `"complete":"no"`, 1)} {
		value, _ := jsonschema.UnmarshalJSON(strings.NewReader(wrong))
		if schema.Validate(value) == nil {
			t.Errorf("the schema accepts %s", wrong)
		}
	}
	var header, footer struct{ Complete bool }
	json.Unmarshal([]byte(lines[0]), &header)
	json.Unmarshal([]byte(lines[len(lines)-1]), &footer)
	if header.Complete || footer.Complete {
		t.Error("a filtered run calls itself complete")
	}
}

func TestEveryRequirementReportsItsBudget(t *testing.T) {
	got := only(t, "ternary-quant/scale", same)
	if got.BudgetUsed <= 0 || got.BudgetUsed > 1 {
		t.Errorf("got a share of %v of the budget", got.BudgetUsed)
	}
}

func BenchmarkRow(b *testing.B) {
	for _, impl := range []spec.Implementation{ref.Implementation(), fast.Implementation()} {
		BenchmarkRows(b, impl)
	}
}

// An implementation that answers NaN again is wrong by another requirement than the
// one that compares it with itself.
func TestNaNIsTheSameAsNaN(t *testing.T) {
	compare := func(got, want float64) error {
		return judge(ref.Implementation(), func(t *trial) { t.sameNumbers("x", reflect.ValueOf(got), reflect.ValueOf(want)) })
	}
	if err := compare(math.NaN(), math.NaN()); err != nil {
		t.Error(err)
	}
	if compare(math.NaN(), 1) == nil || compare(1, math.NaN()) == nil {
		t.Error("NaN and 1 are the same")
	}
}
