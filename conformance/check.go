package conformance

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// DefaultChecks is the number of tries of a check.
const DefaultChecks = 100

// An Option changes what Check does.
type Option func(*options)

type options struct {
	ctx          context.Context
	checks       int
	seed         uint64
	timeout      time.Duration
	shrink       time.Duration
	modules      []string
	requirements []string
	known        []KnownFailure
	failures     string
	reproduce    func(id string, seed uint64) string
	progress     func(Result)
}

// Checks sets the number of tries of a check. Default [DefaultChecks].
func Checks(n int) Option { return func(o *options) { o.checks = n } }

// Seed sets the seed that all random inputs come from. Default 1. The inputs of a
// requirement depend on the seed and its id only, not on what else is run.
func Seed(seed uint64) Option { return func(o *options) { o.seed = seed } }

// Timeout sets how long a call may take. Default 10 s.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Shrink sets how long a failing input may be shrunk. Default 3 s.
func Shrink(d time.Duration) Option { return func(o *options) { o.shrink = d } }

// Modules runs only the modules of these names. The report is then incomplete.
func Modules(names ...string) Option {
	return func(o *options) { o.modules = append(o.modules, names...) }
}

// Requirements runs only the requirements of these ids. The report is then
// incomplete.
func Requirements(ids ...string) Option {
	return func(o *options) { o.requirements = append(o.requirements, ids...) }
}

// KnownFailures says which requirements fail, and how.
func KnownFailures(known ...KnownFailure) Option {
	return func(o *options) { o.known = append(o.known, known...) }
}

// Failures sets the folder into which the shrunk input of a failure is written,
// as a vector. Default none.
func Failures(dir string) Option { return func(o *options) { o.failures = dir } }

// Reproduce sets what a failure prints as the command that reproduces it.
func Reproduce(command func(id string, seed uint64) string) Option {
	return func(o *options) { o.reproduce = command }
}

// Progress calls f with every result as it comes.
func Progress(f func(Result)) Option { return func(o *options) { o.progress = f } }

// Context ends the run before its next requirement once ctx is done. The report
// is then incomplete.
func Context(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

func newOptions(opts []Option) *options {
	o := &options{ctx: context.Background(), checks: DefaultChecks, seed: 1, timeout: 10 * time.Second, shrink: 3 * time.Second}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// Check holds an implementation to every requirement of the modules that this
// version specifies. It may be called concurrently; runs take turns, since rapid
// has global settings.
func Check(impl spec.Implementation, opts ...Option) Report {
	o := newOptions(opts)
	report := newReport(impl, o)
	if report.Misuse = cmp.Or(o.validate(), impl.Validate()); report.Misuse != nil {
		return report
	}
	for _, m := range modules() {
		lost := 0
		for i := range m.spec.Requirements {
			r := &m.spec.Requirements[i]
			if !o.selects(m.spec, r) {
				continue
			}
			if o.ctx.Err() != nil {
				report.Complete = false
				return report
			}
			result := o.checkRequirement(impl, m, r, lost >= maxLost)
			if isLost(result.Symptom) {
				if o.ctx.Err() != nil { // broken off, not broken
					report.Complete = false
					return report
				}
				lost++
			}
			report.Results = append(report.Results, result)
			if o.progress != nil {
				o.progress(result)
			}
		}
	}
	return report
}

// maxLost is the number of crashed or timed-out requirements after which the
// rest of a module is not run any more.
const maxLost = 3

func (o *options) validate() error {
	if o.checks < 1 {
		return spec.Reject(spec.Invalid, "conformance", "checks", "at least 1", o.checks)
	}
	if o.seed == 0 {
		return spec.Reject(spec.Invalid, "conformance", "seed", "a number above 0", o.seed)
	}
	for _, name := range o.modules {
		if spec.ModuleByName(name) == nil {
			return spec.Reject(spec.Invalid, "conformance", "module", "a module that this version specifies", fmt.Sprintf("%q", name))
		}
	}
	for _, id := range o.requirements {
		if !slices.ContainsFunc(spec.Requirements(), func(r spec.Requirement) bool { return r.ID == id }) {
			return spec.Reject(spec.Invalid, "conformance", "requirement", "the id of a requirement", fmt.Sprintf("%q", id))
		}
	}
	for _, k := range o.known {
		if err := k.validate(); err != nil {
			return err
		}
	}
	return nil
}

// filtered reports whether less than everything is run.
func (o *options) filtered() bool { return len(o.modules)+len(o.requirements) > 0 }

func (o *options) selects(m *spec.Module, r *spec.Requirement) bool {
	return (len(o.modules) == 0 || slices.Contains(o.modules, m.Name)) &&
		(len(o.requirements) == 0 || slices.Contains(o.requirements, r.ID))
}

// isOfferedRequirement reports whether impl offers what a requirement speaks of.
func isOfferedRequirement(impl *spec.Implementation, m *spec.Module, r *spec.Requirement) bool {
	if !impl.OffersVariant(m, r.Variant) {
		return false
	}
	for _, operation := range r.Needs {
		if !impl.OffersOperation(m, operation) {
			return false
		}
	}
	return true
}

// checkRequirement runs one check and judges it.
func (o *options) checkRequirement(impl spec.Implementation, m *module, r *spec.Requirement, lost bool) Result {
	result := Result{Requirement: r.ID, Level: r.Level, Kind: r.Kind, Seed: o.seed}
	switch {
	case !isOfferedRequirement(&impl, m.spec, r):
		result.Status = NotOffered
		return result
	case lost:
		result.Status, result.Symptom = Failed, spec.Crashed
		result.Message = fmt.Sprintf("not run: %d requirements of the module crashed or timed out before", maxLost)
	default:
		began := time.Now()
		o.try(impl, m, r, &result)
		result.Elapsed = time.Since(began)
	}
	o.judge(r, &result)
	return result
}

// try runs a requirement's check as a rapid property.
func (o *options) try(impl spec.Implementation, m *module, r *spec.Requirement, result *Result) {
	check, tries := m.check(r), o.checks
	if r.Kind == spec.Vector {
		tries = 1 // nothing is drawn
	}
	var all attempts
	restore := setRapid(tries, o.seedOf(r), o.shrink.String())
	complaint := property(r.ID, func(rt *rapid.T) {
		if all.lost {
			rt.FailNow()
		}
		all.try(newTrial(rt, impl, r, contain(o.timeout)), check)
	})
	restore()
	result.Tries, result.Assertions, result.BudgetUsed = all.tries, all.assertions, all.used
	switch {
	case all.found != nil:
		result.Status, result.Symptom, result.Message = Failed, all.found.symptom, all.found.message
		result.Input = describe(all.found.recordings)
		var problem error
		if result.Vectors, problem = o.writeFailure(r, all.found); problem != nil {
			result.Message += fmt.Sprintf("\nits vector could not be written: %v", problem)
		}
	case complaint != "":
		result.Status, result.Symptom, result.Message = Failed, spec.Differs, checkFailed+complaint
	case all.asserting*vacuityFloor < all.tries || all.asserting == 0:
		result.Status, result.Symptom = Failed, spec.Vacuous
		result.Message = fmt.Sprintf("only %d of %d tries had anything to check", all.asserting, all.tries)
	default:
		result.Status = Passed
	}
}

// attempts are what the tries of one check came to.
type attempts struct {
	found *failure // the last one: rapid ends with the shrunk input
	lost  bool     // the implementation crashed or hung: nothing is asked of it again
	// Before a failure: tries, those with an assertion, assertions, and the largest
	// share of a budget.
	tries, asserting, assertions int
	used                         float64
}

func (a *attempts) try(t *trial, check func(*trial)) {
	defer func() { a.end(t, recover()) }()
	check(t)
}

// end takes in what a try came to. caught is what it panicked with: a Breach, or
// rapid's own way of ending a property, which goes on.
func (a *attempts) end(t *trial, caught any) {
	breach, _ := caught.(*proxy.Breach)
	if breach == nil || !isLost(breach.Symptom) {
		if lost := t.close(); lost != nil {
			breach = lost
		}
	}
	if breach != nil {
		t.failure = &failure{breach.Symptom, breach.Message, t.recordings}
		if isLost(breach.Symptom) {
			a.lost = true
			stopShrinking()
		}
	}
	if t.failure != nil {
		a.found = t.failure
	}
	if a.found == nil {
		a.tries++
		if t.asserted > 0 {
			a.asserting++
			a.assertions += t.asserted
			a.used = max(a.used, t.used)
		}
	}
	if breach != nil {
		t.T.FailNow()
	}
	if caught != nil {
		panic(caught)
	}
}

// checkFailed begins the message of a check that panicked: a result of a shape
// that no check expects, or a fault of the suite.
const checkFailed = "the check itself failed: "

// vacuityFloor is the reciprocal of the share of tries that must check something.
const vacuityFloor = 4

// seedOf derives the seed of a requirement from the run's.
func (o *options) seedOf(r *spec.Requirement) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, o.seed, r.ID)
	return h.Sum64() | 1
}

// judge weighs a failure against its level and what is known to fail.
func (o *options) judge(r *spec.Requirement, result *Result) {
	if k := knownFailure(o.known, r.ID); k != nil {
		switch {
		case result.Status == Failed && result.Symptom == k.Symptom:
			result.Status, result.Known = Known, k.Reason
			return
		case result.Status == Failed:
			result.Message = fmt.Sprintf("known to fail as %s (%s), but failed as %s: %s", k.Symptom, k.Reason, result.Symptom, result.Message)
		case o.checks >= DefaultChecks:
			result.Status, result.Symptom = Failed, ""
			result.Message = fmt.Sprintf("known to fail as %s (%s), but passed: take it off the list", k.Symptom, k.Reason)
			return
		}
	}
	if result.Status == Failed {
		if r.Level != spec.Must {
			result.Status = Warning
		}
		if o.reproduce != nil {
			result.Reproduce = o.reproduce(r.ID, o.seed)
		}
	}
}
