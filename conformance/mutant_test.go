package conformance

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A mutant is the reference with one thing wrong. Its requirement, run alone,
// must fail on it with its symptom.
type mutant struct {
	requirement string
	wrong       string // what is wrong with it, in a line
	layer       proxy.Layer
	symptom     spec.Symptom // accepted for a rejection and differs otherwise where it is empty
}

// mutants is every mutant of a module: its own, and those that break what cuts
// across modules.
func mutants(m *module) []mutant {
	return append(ownMutants[m], crossCuttingMutants(m)...)
}

var ownMutants = map[*module][]mutant{
	awqV2Module:            awqV2Mutants,
	zeroQuantV2Module:      zeroQuantV2Mutants,
	gptqLayerModule:        gptqLayerMutants,
	binaryAttnModule:       binaryAttnMutants,
	weightSharingModule:    weightSharingMutants,
	sparseMoEModule:        sparseMoEMutants,
	modelSurgeryModule:     modelSurgeryMutants,
	layerFusionModule:      layerFusionMutants,
	sparseWeightModule:     sparseWeightMutants,
	structuredPruneModule:  structuredPruneMutants,
	quantCalibModule:       quantCalibMutants,
	iterPruneModule:        iterPruneMutants,
	videoFramePruneModule:  videoFramePruneMutants,
	contextualRerankModule: contextualRerankMutants,
	streamRAGModule:        streamRAGMutants,
	ragPrefetchModule:      ragPrefetchMutants,
	visionKVFuseModule:     visionKVFuseMutants,
	imageTokenPruneModule:  imageTokenPruneMutants,
	modalityRouterModule:   modalityRouterMutants,
	longContextChunkModule: longContextChunkMutants,
	cotCompressModule:      cotCompressMutants,
	multiModalBatchModule:  multiModalBatchMutants,
	embeddingGateModule:    embeddingGateMutants,
	hierarchicalKVModule:   hierarchicalKVMutants,
	crossDocAttnModule:     crossDocAttnMutants,
	ternaryQuantModule:     ternaryQuantMutants,
	crossModalAttnModule:   crossModalAttnMutants,
	deltaCompressModule:    deltaCompressMutants,
}

func TestEveryMutantDies(t *testing.T) {
	for _, m := range modules() {
		for _, mutant := range mutants(m) {
			t.Run(mutant.requirement+"/"+mutant.wrong, func(t *testing.T) {
				want := mutant.symptom
				if want == "" {
					want = spec.Differs
					if requirementByID(mutant.requirement).Kind == spec.Refusal {
						want = spec.Accepted
					}
				}
				report := Check(proxy.Wrap(ref.Implementation(), mutant.layer), Requirements(mutant.requirement), Shrink(0))
				if report.Misuse != nil {
					t.Fatal(report.Misuse)
				}
				got := report.Results[0]
				if got.Status != Failed && got.Status != Warning {
					t.Fatalf("survived %d tries with %d assertions", got.Tries, got.Assertions)
				}
				if strings.HasPrefix(got.Message, checkFailed) {
					t.Errorf("not killed: %s", got.Message)
				}
				if got.Symptom != want {
					t.Errorf("died of %s, want %s: %s", got.Symptom, want, got.Message)
				}
			})
		}
	}
}

// TestRequirementsChecksAndMutants proves that requirements, checks and mutants
// belong together: every requirement has a check and a mutant, every law and
// every mutant a requirement.
func TestRequirementsChecksAndMutants(t *testing.T) {
	for _, m := range modules() {
		killed := map[string]bool{}
		for _, mutant := range mutants(m) {
			killed[mutant.requirement] = true
			if m.spec.Requirement(mutant.requirement) == nil {
				t.Errorf("a mutant of %s breaks %s, which is no requirement of it", m.spec.Name, mutant.requirement)
			}
		}
		for _, r := range m.spec.Requirements {
			if m.check(&r) == nil {
				t.Errorf("%s has no check", r.ID)
			}
			if !killed[r.ID] {
				t.Errorf("%s has no mutant", r.ID)
			}
		}
		for slug := range m.laws {
			if m.spec.Requirement(m.spec.Name+"/"+slug) == nil {
				t.Errorf("the check %s/%s has no requirement", m.spec.Name, slug)
			}
		}
	}
}

func TestSuiteCoversTheModulesOfTheSpecification(t *testing.T) {
	var own []*spec.Module
	for _, m := range modules() {
		own = append(own, m.spec)
	}
	if !slices.Equal(own, spec.Modules()) {
		t.Errorf("the suite has %d modules, the specification %d, or their order differs", len(own), len(spec.Modules()))
	}
}

// after is a layer that spoils what an accepted call of an operation came to.
func after(operation string, spoil func(c *proxy.Call)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if err == nil && c.Op.Name == operation {
				spoil(c)
			}
			return err
		}
	}
}

// before is a layer that spoils a call of an operation before it is made. The
// arguments are its own.
func before(operation string, spoil func(c *proxy.Call)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name == operation {
				own := *c
				own.Args = clone(c.Args).([]any)
				spoil(&own)
				return next(&own)
			}
			return next(c)
		}
	}
}

// crossCuttingMutants break what every module is held to.
func crossCuttingMutants(m *module) []mutant {
	name := m.spec.Name
	list := []mutant{
		{name + "/bad-config", "takes the default config for a bad one", acceptBadConfig(m), ""},
		{name + "/bad-arguments", "swallows errors", swallowErrors, ""},
		{name + "/error-kinds", "calls every refusal a full store", wrongKinds, spec.WrongKind},
		{name + "/errors-change-nothing", "counts a refused call", countRefusals, spec.ChangedState},
		{name + "/no-panic", "panics on bad input", panicOnErrors, spec.Panicked},
		{name + "/inputs-unmodified", "overwrites an argument", writeToArguments, spec.ChangedInput},
		{name + "/inputs-unmodified", "appends to an argument", appendToArguments, spec.ChangedInput},
		{name + "/nothing-aliased", sameMemory, shareResults, spec.Aliased},
		{name + "/vectors", "adds 1 to the first number of every result", addOne, ""},
		{name + "/equivalence", "adds 1 to the first number of every result", addOne, ""},
		{name + "/equivalence", "lets it show what a destination held", showUsedDestination, ""},
	}
	for _, v := range m.spec.Variants {
		list = append(list, mutant{name + "/equivalence-" + string(v), "adds 1 to the first number of every result", addOne, ""})
	}
	return slices.DeleteFunc(list, func(mutant mutant) bool {
		return m.spec.Requirement(mutant.requirement) == nil || mutant.wrong == sameMemory && !handsOutMemory(m)
	})
}

const sameMemory = "hands out the same memory every time"

// handsOutMemory reports whether a call, other than a query, writes to buffers.
func handsOutMemory(m *module) bool {
	return slices.ContainsFunc(m.spec.Operations, func(o spec.Operation) bool { return !o.IsQuery() && o.HasDst() && !isFlat(o.ResultType()) })
}

func acceptBadConfig(m *module) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if err != nil && c.Op == proxy.New {
				own := *c
				own.Args = []any{m.spec.Config}
				return next(&own)
			}
			return err
		}
	}
}

func swallowErrors(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if c.Op == proxy.New {
			return err
		}
		return nil
	}
}

func wrongKinds(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if err := next(c); err != nil {
			return spec.Reject(spec.Capacity, c.Module.Name, c.Op.Name, "room", "none")
		}
		return nil
	}
}

func countRefusals(next proxy.Handler) proxy.Handler {
	refused := int64(0)
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil {
			refused++
		}
		if err == nil && c.Op.Name == "stats" {
			if first := firstNumber(reflect.ValueOf(c.Dst).Elem()); first.CanInt() {
				first.SetInt(first.Int() + refused)
			}
		}
		return err
	}
}

func panicOnErrors(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if err := next(c); err != nil {
			panic(err)
		}
		return nil
	}
}

func writeToArguments(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		eachBuffer(c.Args, func(_ string, buffer reflect.Value) {
			if n := firstNumber(buffer); n.IsValid() && n.CanSet() {
				increment(n)
			}
		})
		return err
	}
}

func appendToArguments(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		eachBuffer(c.Args, func(_ string, buffer reflect.Value) { reflect.Append(buffer, reflect.Zero(buffer.Type().Elem())) })
		return err
	}
}

func shareResults(next proxy.Handler) proxy.Handler {
	own := map[string]any{}
	return func(c *proxy.Call) error {
		if c.Dst == nil || c.Op.IsQuery() {
			return next(c)
		}
		if own[c.Op.Name] == nil {
			own[c.Op.Name] = c.Op.NewResult()
		}
		mine := *c
		mine.Dst = own[c.Op.Name]
		err := next(&mine)
		reflect.ValueOf(c.Dst).Elem().Set(reflect.ValueOf(mine.Dst).Elem())
		return err
	}
}

func addOne(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err == nil && c.Dst != nil && !c.Op.IsQuery() {
			if n := firstNumber(reflect.ValueOf(c.Dst).Elem()); n.IsValid() {
				increment(n)
			}
		}
		return err
	}
}

func showUsedDestination(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		used := c.Dst != nil && !c.Op.IsQuery() && firstNumber(reflect.ValueOf(c.Dst)).IsValid() && !firstNumber(reflect.ValueOf(c.Dst)).IsZero()
		err := next(c)
		if err == nil && used {
			if n := firstNumber(reflect.ValueOf(c.Dst)); n.IsValid() {
				increment(n)
			}
		}
		return err
	}
}

// firstNumber returns the first number, or string, in a value, the zero Value
// where there is none.
func firstNumber(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			if n := firstNumber(v.Index(i)); n.IsValid() {
				return n
			}
		}
	case reflect.Struct:
		for _, pass := range []reflect.Kind{reflect.Slice, reflect.Struct, reflect.Invalid} {
			for i := range v.NumField() {
				f := v.Field(i)
				if pass != reflect.Invalid && f.Kind() != pass {
					continue
				}
				if n := firstNumber(f); n.IsValid() {
					return n
				}
			}
		}
	case reflect.Pointer, reflect.Interface:
		return firstNumber(v.Elem())
	case reflect.Float32, reflect.Float64, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.String:
		return v
	}
	return reflect.Value{}
}

func increment(n reflect.Value) {
	switch {
	case n.CanFloat():
		n.SetFloat(n.Float() + 1)
	case n.CanInt():
		n.SetInt(n.Int() + 1)
	case n.CanUint():
		n.SetUint(n.Uint() + 1)
	case n.Kind() == reflect.String:
		n.SetString(n.String() + "1")
	}
}
