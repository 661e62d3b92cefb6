package conformance

import (
	"fmt"
	"math"
	"reflect"
	"sort"
	"strings"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// crossCutting returns the check of a requirement that every module has.
func crossCutting(m *module, r *spec.Requirement, slug string) func(*trial) {
	switch {
	case strings.HasPrefix(slug, "equivalence"):
		return m.checkEquivalence
	case slug == "bad-config":
		return m.checkBadConfig
	case slug == "bad-arguments":
		return m.checkBadArguments
	case slug == "error-kinds":
		return m.checkErrorKinds
	case slug == "errors-change-nothing":
		return m.checkErrorsChangeNothing
	case slug == "no-panic":
		return m.checkNoPanic
	case slug == "inputs-unmodified":
		return m.checkInputsUnmodified
	case slug == "nothing-aliased":
		return m.checkNothingAliased
	case slug == "vectors":
		return m.checkVectors
	}
	return nil
}

// draw draws a program of what the implementation offers, the queries at its end.
func (m *module) draw(t *trial, v spec.Variant) program {
	return m.program(t, v).offered(&t.impl, m.spec).complete(m.spec)
}

// anyVariant draws a variant that is offered.
func (m *module) anyVariant(t *trial) spec.Variant {
	var offered []spec.Variant
	for _, v := range append([]spec.Variant{spec.Documented}, m.spec.Variants...) {
		if t.impl.OffersVariant(m.spec, v) {
			offered = append(offered, v)
		}
	}
	return rapid.SampledFrom(offered).Draw(t.T, "variant")
}

// checkEquivalence guards the implementation's calls for their used destinations:
// what a destination held before must not show.
func (m *module) checkEquivalence(t *trial) {
	p := m.draw(t, t.requirement.Variant)
	want := t.run(t.ref, m, p)
	got := t.run(t.impl, m, p, guard(func() {}))
	t.sameOutcomes(m, p, got, want)
}

// offersConfig reports whether a config is of a variant that is offered, or of one
// that does not exist.
func (m *module) offersConfig(t *trial, config any) bool {
	v := variantOf(config)
	return !m.spec.HasVariant(v) || t.impl.OffersVariant(m.spec, v)
}

func (m *module) checkBadConfig(t *trial) {
	for _, what := range sortedKeys(m.badConfigs) {
		if config := m.badConfigs[what]; m.offersConfig(t, config) {
			_, err := start(t.impl, m.spec, config)
			t.refused("a config with "+what, err)
		}
	}
}

// withBadSteps draws an instance with some past, and calls that it must refuse.
func (m *module) withBadSteps(t *trial) (proxy.Handler, []badStep) {
	p := m.draw(t, m.anyVariant(t))
	h, err := start(t.impl, m.spec, p.config)
	t.must(err)
	for _, s := range p.steps {
		t.must(do(h, m.spec, s).err)
	}
	var bad []badStep
	for _, b := range m.badSteps(t, p.config) {
		if isOffered(&t.impl, m.spec, b.step) {
			bad = append(bad, b)
		}
	}
	return h, bad
}

func (m *module) checkBadArguments(t *trial) {
	h, bad := m.withBadSteps(t)
	for _, b := range bad {
		t.refused(fmt.Sprintf("%s with %s", b.op.Name, b.what), do(h, m.spec, b.step).err)
	}
}

func (m *module) checkErrorKinds(t *trial) {
	for _, what := range sortedKeys(m.badConfigs) {
		if config := m.badConfigs[what]; m.offersConfig(t, config) {
			_, err := start(t.impl, m.spec, config)
			t.kind("a config with "+what, err, spec.Invalid)
		}
	}
	h, bad := m.withBadSteps(t)
	for _, b := range bad {
		t.kind(fmt.Sprintf("%s with %s", b.op.Name, b.what), do(h, m.spec, b.step).err, b.kind)
	}
}

// kind asserts the kind of a refusal. What was accepted is bad-config's and
// bad-arguments' to judge.
func (t *trial) kind(what string, err error, want spec.ErrorKind) {
	if err == nil {
		return
	}
	t.asserted++
	if got := spec.KindOf(err); got != want {
		t.fail(spec.WrongKind, "%s: got kind %q (%v), want %q", what, got, err, want)
	}
}

func (m *module) checkErrorsChangeNothing(t *trial) {
	p := m.draw(t, m.anyVariant(t))
	want := t.run(t.impl, m, p)
	bad := m.badSteps(t, p.config)
	h, err := start(t.impl, m.spec, p.config)
	t.must(err)
	t.as(spec.ChangedState, func() {
		for i, s := range p.steps {
			b := rapid.SampledFrom(bad).Draw(t.T, "bad call")
			if isOffered(&t.impl, m.spec, b.step) {
				t.refused(fmt.Sprintf("%s with %s", b.op.Name, b.what), do(h, m.spec, b.step).err)
			}
			t.sameOutcome(m, p.config, s, do(h, m.spec, s), want[i])
		}
	})
}

func (m *module) checkInputsUnmodified(t *trial) {
	p := m.draw(t, m.anyVariant(t))
	t.run(t.impl, m, p, guard(func() { t.asserted++ }))
}

// checkNothingAliased asks twice what the state is: the first answer may be the
// module's own memory, which is overwritten by then.
func (m *module) checkNothingAliased(t *trial) {
	p := m.draw(t, m.anyVariant(t)).complete(m.spec)
	want := t.run(t.impl, m, p)
	got := t.run(t.impl, m, p, disown(func() { t.asserted++ }))
	t.as(spec.Aliased, func() { t.sameOutcomes(m, p, got, want) })
}

// checkNoPanic calls with whatever a type can hold. Whether a call is accepted is
// not asked here.
func (m *module) checkNoPanic(t *trial) {
	p := m.draw(t, m.anyVariant(t))
	config := p.config
	if rapid.Bool().Draw(t.T, "wild config") {
		config = wildConfig(t, m.spec)
	}
	if !m.offersConfig(t, config) {
		return
	}
	h, err := start(t.impl, m.spec, config)
	t.asserted++
	if err != nil {
		return
	}
	for range rapid.IntRange(1, 8).Draw(t.T, "calls") {
		o := &m.spec.Operations[rapid.IntRange(0, len(m.spec.Operations)-1).Draw(t.T, "operation")]
		s := step{op: o}
		if !isOffered(&t.impl, m.spec, s) {
			continue
		}
		for i := range o.Args {
			s.args = append(s.args, wild(t, o.ArgType(i)).Interface())
		}
		do(h, m.spec, s)
		t.asserted++
	}
}

// wildConfig is the default config with one field wild, where it has any.
func wildConfig(t *trial, m *spec.Module) any {
	config := reflect.New(reflect.TypeOf(m.Config)).Elem()
	config.Set(reflect.ValueOf(m.Config))
	if config.NumField() == 0 {
		return m.Config
	}
	field := config.Field(rapid.IntRange(0, config.NumField()-1).Draw(t.T, "field"))
	field.Set(wild(t, field.Type()))
	return config.Interface()
}

var (
	wildInts = []int64{0, 1, -1, 2, 3, 7, 8, 255, -256, math.MaxInt32, math.MinInt32, 1 << 40, math.MaxInt64, math.MinInt64}
	wildNums = []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 1e-300, 1e300, math.MaxFloat32, 0x1p-149, math.NaN(), math.Inf(1), math.Inf(-1)}
	wildText = []string{"", "text", "vision", "audio", "squish6", "\x00", "é"}
)

// wild draws a value of a type with no regard to what it means: slices of any
// length and nil, matrices whose fields contradict each other, counts beyond any
// memory.
func wild(t *trial, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.SampledFrom(wildInts).Draw(t.T, "int"))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(rapid.SampledFrom(wildInts).Draw(t.T, "uint")))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(rapid.SampledFrom(wildNums).Draw(t.T, "float"))
	case reflect.String:
		v.SetString(rapid.SampledFrom(wildText).Draw(t.T, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t.T, "bool"))
	case reflect.Slice:
		if n := rapid.IntRange(-1, 6).Draw(t.T, "length"); n >= 0 {
			v.Set(reflect.MakeSlice(typ, n, n))
			for i := range n {
				v.Index(i).Set(wild(t, typ.Elem()))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			v.Field(i).Set(wild(t, typ.Field(i).Type))
		}
	}
	return v
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
