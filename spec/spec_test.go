package spec_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

func TestModulesAreInThePagesOrder(t *testing.T) {
	last := -1
	for _, m := range spec.Modules() {
		i := slices.Index(spec.ModuleNames, m.Name)
		if i <= last {
			t.Errorf("%s: place %d of ModuleNames, after place %d", m.Name, i, last)
		}
		last = i
		if wave := 23 + i/14; m.Wave != wave {
			t.Errorf("%s: wave %d, want %d", m.Name, m.Wave, wave)
		}
		if got := strings.ReplaceAll(m.Name, "-", ""); got != strings.ToLower(m.GoName()) {
			t.Errorf("%s: its Go name is %s", m.Name, m.GoName())
		}
		if m.Summary == "" || strings.Contains(m.Summary, "\n") {
			t.Errorf("%s: summary %q", m.Name, m.Summary)
		}
		if spec.ModuleByName(m.Name) != m {
			t.Errorf("%s: ModuleByName finds another module", m.Name)
		}
	}
	for _, name := range []string{"", "no-such", "Ternary-Quant"} {
		if m := spec.ModuleByName(name); m != nil {
			t.Errorf("ModuleByName(%q) = %s, want none", name, m.Name)
		}
	}
}

func TestImplementationHasAConstructorForEveryModule(t *testing.T) {
	impl := reflect.TypeFor[spec.Implementation]()
	for _, m := range spec.Modules() {
		field, ok := impl.FieldByName(m.GoName())
		if !ok {
			t.Errorf("%s: no field %s", m.Name, m.GoName())
			continue
		}
		want := reflect.FuncOf([]reflect.Type{reflect.TypeOf(m.Config)}, []reflect.Type{m.Interface, reflect.TypeFor[error]()}, false)
		if field.Type != want {
			t.Errorf("%s: constructor %v, want %v", m.Name, field.Type, want)
		}
	}
}

var wireName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func TestOperationsFitTheirMethods(t *testing.T) {
	for _, m := range spec.Modules() {
		for i := range m.Operations {
			o := &m.Operations[i]
			name := m.Name + "/" + o.Name
			if !wireName.MatchString(o.Name) {
				t.Errorf("%s: no name for the wire", name)
			}
			if m.Operation(o.Name) != o {
				t.Errorf("%s: comes twice", name)
			}
			method := o.Method().Type
			if in, args := method.NumIn(), len(o.Args); in != args && in != args+1 {
				t.Errorf("%s: %d names for the arguments of %v", name, args, method)
				continue
			}
			if first := method.NumIn() > 0 && method.In(0).Kind() == reflect.Pointer; o.HasDst() != first {
				t.Errorf("%s: HasDst %v for %v", name, o.HasDst(), method)
				continue
			}
			if method.NumOut() != 1 || o.IsQuery() == (method.Out(0) == reflect.TypeFor[error]()) || (o.IsQuery() && o.HasDst()) {
				t.Errorf("%s: %v answers neither with an error nor with a value", name, method)
			}
			checkArguments(t, name, o)
			checkResult(t, name, o)
		}
		if m.Operation("no_such") != nil || m.Operation("") != nil {
			t.Errorf("%s: has operations that do not exist", m.Name)
		}
	}
}

func checkArguments(t *testing.T, name string, o *spec.Operation) {
	t.Helper()
	seen := map[string]bool{}
	for i, p := range o.Args {
		if !wireName.MatchString(p.Name) || seen[p.Name] {
			t.Errorf("%s: argument %d is called %q", name, i, p.Name)
		}
		seen[p.Name] = true
		if p.Alias == p.Name || (p.Alias != "" && seen[p.Alias]) {
			t.Errorf("%s: argument %s has the alias %q", name, p.Name, p.Alias)
		}
		kind := o.ArgType(i).Kind()
		if kind == reflect.Pointer {
			t.Errorf("%s: argument %s is a second destination", name, p.Name)
		}
		if p.Default != nil && (!p.Optional || reflect.TypeOf(p.Default) != o.ArgType(i)) {
			t.Errorf("%s: argument %s, a %v, has the default %v", name, p.Name, o.ArgType(i), p.Default)
		}
		if p.AnyShape && kind != reflect.Slice && o.ArgType(i) != reflect.TypeFor[spec.Matrix]() {
			t.Errorf("%s: argument %s, a %v, cannot have any shape", name, p.Name, o.ArgType(i))
		}
	}
	if like := o.Result.Like; like != "" && !seen[like] {
		t.Errorf("%s: the result is like %q, which is no argument", name, like)
	}
}

// checkResult holds a result to one name, or to one name for each of its fields.
func checkResult(t *testing.T, name string, o *spec.Operation) {
	t.Helper()
	result := o.ResultType()
	if result == nil {
		if o.Result != (spec.Param{}) || o.NewResult() != nil {
			t.Errorf("%s: names a result, %q, and has none", name, o.Result.Name)
		}
		return
	}
	if got := reflect.TypeOf(o.NewResult()); got != reflect.PointerTo(result) {
		t.Errorf("%s: NewResult is a %v, want a pointer to %v", name, got, result)
	}
	if o.Result.Name != "" {
		if !wireName.MatchString(o.Result.Name) {
			t.Errorf("%s: the result is called %q", name, o.Result.Name)
		}
		return
	}
	if result.Kind() != reflect.Struct {
		t.Errorf("%s: the result, a %v, has no name", name, result)
		return
	}
	seen := map[string]bool{}
	for i := range result.NumField() {
		field := result.Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("wire"), ",")
		if tag == "" || seen[tag] {
			t.Errorf("%s: field %s of the result is called %q", name, field.Name, tag)
		}
		seen[tag] = true
	}
}

func TestCoreOperationsAreTheInterface(t *testing.T) {
	for _, m := range spec.Modules() {
		methods := map[reflect.Type][]string{}
		optional := false
		for _, o := range m.Operations {
			methods[o.Interface] = append(methods[o.Interface], o.Method().Name)
			if optional && !o.Optional {
				t.Errorf("%s/%s: a core operation after an optional one", m.Name, o.Name)
			}
			optional = o.Optional
			if o.Optional == (o.Interface == m.Interface) {
				t.Errorf("%s/%s: optional %v, and of %v", m.Name, o.Name, o.Optional, o.Interface)
			}
		}
		for i, got := range methods {
			var want []string
			for k := range i.NumMethod() {
				want = append(want, i.Method(k).Name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: methods of %v (-interface +operations):\n%s", m.Name, i, diff)
			}
		}
	}
}

var (
	slug      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	numbered  = regexp.MustCompile(`(^|-)[0-9]+$`)
	rowInText = regexp.MustCompile(`page row ([a-z0-9-]+/[a-z0-9-]+)`)
)

func TestRequirementIDsAreStableSlugs(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range spec.Modules() {
		for i := range m.Requirements {
			r := &m.Requirements[i]
			own, ok := strings.CutPrefix(r.ID, m.Name+"/")
			if !ok || !slug.MatchString(own) || numbered.MatchString(own) {
				t.Errorf("%s: no slug of module %s, or a number", r.ID, m.Name)
			}
			if seen[r.ID] {
				t.Errorf("%s: comes twice", r.ID)
			}
			seen[r.ID] = true
			if m.Requirement(r.ID) != r {
				t.Errorf("%s: Requirement finds another", r.ID)
			}
		}
		if m.Requirement(m.Name+"/no-such") != nil {
			t.Errorf("%s: has requirements that do not exist", m.Name)
		}
	}
	if n := len(spec.Requirements()); n != len(seen) {
		t.Errorf("Requirements has %d, the modules %d", n, len(seen))
	}
}

func TestRequirementsAreOneSentence(t *testing.T) {
	for _, r := range spec.Requirements() {
		if !strings.HasSuffix(r.Text, ".") || strings.ContainsAny(r.Text, "\n\t") || strings.Contains(r.Text, ". ") {
			t.Errorf("%s: not one sentence: %q", r.ID, r.Text)
		}
	}
}

func TestRequirementsSayWhatTheyRestOn(t *testing.T) {
	levels := []spec.Level{spec.Must, spec.Should, spec.May}
	kinds := []spec.Kind{spec.Law, spec.Model, spec.Vector, spec.Equivalence, spec.Refusal}
	for _, r := range spec.Requirements() {
		if !slices.Contains(levels, r.Level) || !slices.Contains(kinds, r.Kind) {
			t.Errorf("%s: level %q, kind %q", r.ID, r.Level, r.Kind)
		}
		if r.Tolerance == "" || r.Why == "" || r.Source == "" {
			t.Errorf("%s: tolerance %q because %q, source %q", r.ID, r.Tolerance, r.Why, r.Source)
		}
		if ownRoute := r.Kind == spec.Law || r.Kind == spec.Refusal; r.Level == spec.Must && !ownRoute && r.Second == "" {
			t.Errorf("%s: a %s with no second route", r.ID, r.Kind)
		}
	}
}

func TestRequirementsSpeakOfWhatThereIs(t *testing.T) {
	for _, m := range spec.Modules() {
		for _, r := range m.Requirements {
			if !m.HasVariant(r.Variant) {
				t.Errorf("%s: %s has no variant %q", r.ID, m.Name, r.Variant)
			}
			for _, need := range r.Needs {
				if o := m.Operation(need); o == nil || !o.Optional {
					t.Errorf("%s: needs %q, which is no optional operation", r.ID, need)
				}
			}
			for _, row := range rowInText.FindAllStringSubmatch(r.Source, -1) {
				if found, ok := spec.RowByID(row[1]); !ok || found.Module != m.Name {
					t.Errorf("%s: the page has no row %s of %s", r.ID, row[1], m.Name)
				}
			}
		}
	}
}

func TestEveryVariantIsHeldToEquivalence(t *testing.T) {
	for _, m := range spec.Modules() {
		for _, v := range append([]spec.Variant{spec.Documented}, m.Variants...) {
			if !slices.ContainsFunc(m.Requirements, func(r spec.Requirement) bool {
				return r.Kind == spec.Equivalence && r.Variant == v && r.Level == spec.Must
			}) {
				t.Errorf("%s: variant %q has no equivalence", m.Name, v)
			}
		}
	}
}

type validator interface{ Validate() error }

func validate(t *testing.T, c any) error {
	t.Helper()
	v, ok := c.(validator)
	if !ok {
		t.Fatalf("%T has no Validate() error", c)
	}
	return v.Validate()
}

func TestDefaultConfigsAreValid(t *testing.T) {
	for _, m := range spec.Modules() {
		if err := validate(t, m.Config); err != nil {
			t.Errorf("%s: its default config: %v", m.Name, err)
		}
		if got := reflect.TypeOf(m.Config).Name(); got != m.GoName()+"Config" {
			t.Errorf("%s: its config is a %s", m.Name, got)
		}
		if diff := cmp.Diff(m.Config, m.Defaults(m.Config)); diff != "" {
			t.Errorf("%s: defaults of the defaults (-want +got):\n%s", m.Name, diff)
		}
		for _, v := range m.Variants {
			c := withField(m.Config, "Variant", reflect.ValueOf(v))
			if err := validate(t, c); err != nil {
				t.Errorf("%s: variant %q: %v", m.Name, v, err)
			}
		}
	}
}

// withField returns a copy of a config with one field changed.
func withField(config any, name string, value reflect.Value) any {
	c := reflect.New(reflect.TypeOf(config)).Elem()
	c.Set(reflect.ValueOf(config))
	c.FieldByName(name).Set(value)
	return c.Interface()
}

// zeroIsLegal lists the numbers of configs that may be 0.
var zeroIsLegal = map[string]bool{
	"cot-compress: compress_ratio":           true,
	"cot-compress: alpha":                    true,
	"contextual-rerank: recency_weight":      true,
	"image-token-prune: prune_ratio":         true,
	"multimodal-batch: max_wait_rounds":      true,
	"rag-prefetch: window":                   true,
	"video-frame-prune: spatial_prune_ratio": true,
	"iter-prune: initial_sparsity":           true,
	"iter-prune: start_step":                 true,
	"iter-prune: end_step":                   true,
	"iter-prune: regrow_fraction":            true,
	"structured-prune: sparsity":             true,
	"weight-sharing: rank":                   true,
	"sparse-moe: load_balance_weight":        true,
	"sparse-moe: capacity_factor":            true,
	"gptq-layer: group_size":                 true,
	"zero-quant-v2: lorc_rank":               true,
}

// configName also takes the literature's N and M.
var configName = regexp.MustCompile(wireName.String() + `|^[NM]$`)

func TestConfigsRefuseEveryFieldOutOfRange(t *testing.T) {
	for _, m := range spec.Modules() {
		typ := reflect.TypeOf(m.Config)
		for i := range typ.NumField() {
			field := typ.Field(i)
			wire := field.Tag.Get("wire")
			if !configName.MatchString(wire) {
				t.Errorf("%s: field %s is called %q on the wire", m.Name, field.Name, wire)
			}
			where := m.Name + ": " + wire
			var bad []any
			switch field.Type.Kind() {
			case reflect.Float64:
				bad = []any{math.NaN(), math.Inf(1), math.Inf(-1), -1.0, -math.SmallestNonzeroFloat64}
				if !zeroIsLegal[where] {
					bad = append(bad, 0.0, math.Copysign(0, -1))
				}
			case reflect.Int:
				bad = []any{-1, math.MinInt}
				if !zeroIsLegal[where] {
					bad = append(bad, 0)
				}
			case reflect.String:
				bad = []any{"no-such", " "}
			}
			for _, x := range bad {
				err := validate(t, withField(m.Config, field.Name, reflect.ValueOf(x).Convert(field.Type)))
				if !errors.Is(err, spec.Invalid) || !strings.HasPrefix(fmt.Sprint(err), where+": ") {
					t.Errorf("%s = %v: %v", where, x, err)
				}
			}
		}
	}
}

func TestZeroIsLegalWhereListed(t *testing.T) {
	for where := range zeroIsLegal {
		module, wire, _ := strings.Cut(where, ": ")
		m := spec.ModuleByName(module)
		typ := reflect.TypeOf(m.Config)
		for i := range typ.NumField() {
			if field := typ.Field(i); field.Tag.Get("wire") == wire {
				if err := validate(t, withField(m.Config, field.Name, reflect.Zero(field.Type))); err != nil {
					t.Errorf("%s = 0: %v", where, err)
				}
			}
		}
	}
}

// A config of huge sizes is accepted or refused as Invalid: nothing is computed
// from them that could overflow into something legal, or panic.
func TestHugeSizesAreJudgedWithoutPanic(t *testing.T) {
	for _, m := range spec.Modules() {
		typ := reflect.TypeOf(m.Config)
		rapid.Check(t, func(t *rapid.T) {
			c := reflect.New(typ).Elem()
			c.Set(reflect.ValueOf(m.Config))
			for i := range typ.NumField() {
				switch typ.Field(i).Type.Kind() {
				case reflect.Int:
					c.Field(i).SetInt(int64(rapid.SampledFrom(edges).Draw(t, typ.Field(i).Name)))
				case reflect.Float64:
					c.Field(i).SetFloat(rapid.Float64().Draw(t, typ.Field(i).Name))
				}
			}
			if err := c.Interface().(validator).Validate(); err != nil && !errors.Is(err, spec.Invalid) {
				t.Fatalf("%s: %v", m.Name, err)
			}
		})
	}
}

// edges are integers at which products and sums overflow, and small ones.
var edges = []int{
	math.MinInt, math.MinInt + 1, -1, 0, 1, 2, 3, 8, 1 << 15, 1<<30 - 1, 1 << 30, 1<<30 + 1,
	1 << 31, 1<<31 + 1, 1 << 32, 1 << 61, 1 << 62, math.MaxInt/2 + 1, math.MaxInt - 1, math.MaxInt,
}

func TestHierarchicalKVStoresAreBounded(t *testing.T) {
	for _, c := range []struct {
		hot, warm, cold, heads, dim int
		fits                        bool
	}{
		{1, 2, 3, 1, 1, true},
		// 2·(hot+warm+cold)·heads·dim is 2³⁰: the last that fits.
		{1, 2, 5, 1 << 13, 1 << 13, true},
		{1, 2, 1<<10 - 3, 1 << 10, 1 << 9, true},
		{1, 2, 1<<10 - 2, 1 << 10, 1 << 9, false},
		{1, 2, 6, 1 << 13, 1 << 13, false},
		{1, 2, 1<<29 - 3, 1, 1, true},
		{1, 2, 1<<29 - 2, 1, 1, false},
		// Products and sums that overflow, one of them to 0.
		{1, 2, 3, 1 << 32, 1 << 32, false},
		{1, 2, 4, 1 << 31, 1 << 31, false},
		{1, 2, 3, math.MaxInt, math.MaxInt, false},
		{1, 2, math.MaxInt, 1, 1, false},
		{1, math.MaxInt - 1, math.MaxInt, 1, 1, false},
		{math.MaxInt - 2, math.MaxInt - 1, math.MaxInt, 1, 1, false},
		{1 << 61, 1 << 62, 1<<62 + 1<<61, 1, 1, false},
		{9, math.MaxInt - 1, math.MaxInt, 1, 1, false}, // 2⁶⁴ + 6 in all
	} {
		config := spec.HierarchicalKVConfig{HotCapacity: c.hot, WarmCapacity: c.warm, ColdCapacity: c.cold, NHeads: c.heads, HeadDim: c.dim}
		err := config.Validate()
		if c.fits != (err == nil) || (err != nil && !errors.Is(err, spec.Invalid)) {
			t.Errorf("%+v: %v, want it to fit: %v", config, err, c.fits)
		}
	}
}

func TestHierarchicalKVCapacitiesGrow(t *testing.T) {
	for _, c := range [][3]int{{2, 2, 3}, {1, 3, 3}, {3, 2, 4}, {1, 4, 3}} {
		config := spec.HierarchicalKVConfig{HotCapacity: c[0], WarmCapacity: c[1], ColdCapacity: c[2], NHeads: 1, HeadDim: 1}
		if err := config.Validate(); !errors.Is(err, spec.Invalid) {
			t.Errorf("capacities %v: %v, want Invalid", c, err)
		}
	}
}

func TestDropCountExamples(t *testing.T) {
	for _, c := range []struct {
		ratio   float64
		n, want int
	}{
		{0.7, 10, 7},
		{0.29, 100, 29}, // 0.29·100 is 28.999999999999996 in float64
		{0.4, 256, 102},
		{0.3, 196, 58},
		{0.5, 7, 3},
		{0, 10, 0},
		{0, 0, 0},
		{0.999, 0, 0},
		{0.999, 1, 0},
		{math.Nextafter(1, 0), 1, 0},
		{math.Nextafter(1, 0), 10, 9},
		{math.SmallestNonzeroFloat64, 1 << 40, 0},
	} {
		if got := spec.DropCount(c.ratio, c.n); got != c.want {
			t.Errorf("DropCount(%v, %d) = %d, want %d", c.ratio, c.n, got, c.want)
		}
	}
}

// Where a decimal ratio of n is a whole number, that many go.
func TestDropCountIsExactOnDecimalRatios(t *testing.T) {
	for thousandths := range 1000 {
		for n := 1; n <= 2000; n++ {
			if thousandths*n%1000 != 0 {
				continue
			}
			if got, want := spec.DropCount(float64(thousandths)/1000, n), thousandths*n/1000; got != want {
				t.Fatalf("DropCount(%v, %d) = %d, want %d", float64(thousandths)/1000, n, got, want)
			}
		}
	}
}

func TestDropCountIsWithinOneOfTheExactProduct(t *testing.T) {
	one := big.NewRat(1, 1)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<40).Draw(t, "n")
		ratio := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "ratio")
		drop := spec.DropCount(ratio, n)
		if drop < 0 || drop >= n {
			t.Fatalf("%d of %d go", drop, n)
		}
		exact := new(big.Rat).SetFloat64(ratio)
		exact.Mul(exact, new(big.Rat).SetInt64(int64(n)))
		off := new(big.Rat).Sub(new(big.Rat).SetInt64(int64(drop)), exact)
		if off.Abs(off).Cmp(one) >= 0 {
			t.Fatalf("%d of %d go, the exact product is %v", drop, n, exact.FloatString(20))
		}
	})
}

func TestErrorsHaveTheirKind(t *testing.T) {
	for _, kind := range spec.ErrorKinds {
		err := spec.Reject(kind, "ternary-quant", "scale", "a finite number", math.NaN())
		wrapped := fmt.Errorf("while quantising: %w", err)
		for _, e := range []error{err, wrapped, kind} {
			if !errors.Is(e, kind) || spec.KindOf(e) != kind {
				t.Errorf("%v: kind %q, want %q", e, spec.KindOf(e), kind)
			}
			for _, other := range spec.ErrorKinds {
				if other != kind && errors.Is(e, other) {
					t.Errorf("%v: is %q too", e, other)
				}
			}
		}
		if kind.Error() != string(kind) || kind == "" {
			t.Errorf("kind %q reads %q", kind, kind.Error())
		}
	}
	for _, err := range []error{nil, errors.New("invalid"), fmt.Errorf("closed: %w", errors.ErrUnsupported)} {
		if kind := spec.KindOf(err); kind != "" {
			t.Errorf("%v: kind %q, want none", err, kind)
		}
	}
}

func TestErrorsNameFieldWantAndGot(t *testing.T) {
	for _, c := range []struct {
		got  any
		want string
	}{
		{0, "gptq-layer: n_bits: want 2, 3, 4 or 8, got 0"},
		{-1.5, "gptq-layer: n_bits: want 2, 3, 4 or 8, got -1.5"},
		{math.NaN(), "gptq-layer: n_bits: want 2, 3, 4 or 8, got NaN"},
		{float32(math.Inf(-1)), "gptq-layer: n_bits: want 2, 3, 4 or 8, got -Inf"},
		{"four", "gptq-layer: n_bits: want 2, 3, 4 or 8, got four"},
		{"", `gptq-layer: n_bits: want 2, 3, 4 or 8, got ""`},
	} {
		if err := spec.Reject(spec.Invalid, "gptq-layer", "n_bits", "2, 3, 4 or 8", c.got); err.Error() != c.want {
			t.Errorf("%q, want %q", err, c.want)
		}
	}
}

// offering returns an implementation of cot-compress, which has a variant, and
// ternary-quant, which has optional operations.
func offering(entries []string) spec.Implementation {
	return spec.Implementation{
		Name:         "mine",
		Offers:       entries,
		CotCompress:  func(spec.CotCompressConfig) (spec.CotCompress, error) { return nil, nil },
		TernaryQuant: func(spec.TernaryQuantConfig) (spec.TernaryQuant, error) { return nil, nil },
	}
}

func TestHasIsTheConstructorsGiven(t *testing.T) {
	impl := offering(nil)
	for _, m := range spec.Modules() {
		if want := m.Name == "cot-compress" || m.Name == "ternary-quant"; impl.Has(m) != want {
			t.Errorf("Has(%s) = %v", m.Name, impl.Has(m))
		}
	}
}

func TestOffers(t *testing.T) {
	everything := spec.OffersEverything(offering(nil))
	wantAll := []string{
		"cot-compress", "cot-compress:squish6", "ternary-quant", "ternary-quant/pack_base3",
		"ternary-quant/unpack_base3", "ternary-quant/pack_2bit", "ternary-quant/unpack_2bit",
	}
	if diff := cmp.Diff(wantAll, everything); diff != "" {
		t.Errorf("OffersEverything (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		what                                  string
		offers                                []string
		cot, squish6, compress, ternary, pack bool
	}{
		{"nil stands for documented variants and core operations", nil, true, false, true, true, false},
		{"an empty list offers nothing", []string{}, false, false, false, false, false},
		{"a module is its documented variant", []string{"cot-compress"}, true, false, true, false, false},
		{"a variant comes alone", []string{"cot-compress:squish6"}, false, true, true, false, false},
		{"an operation comes beside its module", []string{"ternary-quant", "ternary-quant/pack_base3"}, false, false, false, true, true},
		{"an operation alone cannot be called", []string{"ternary-quant/pack_base3"}, false, false, false, false, false},
		{"everything", everything, true, true, true, true, true},
	} {
		impl := offering(c.offers)
		cot, ternary := spec.ModuleByName("cot-compress"), spec.ModuleByName("ternary-quant")
		got := []bool{
			impl.OffersVariant(cot, spec.Documented), impl.OffersVariant(cot, spec.Squish6), impl.OffersOperation(cot, "compress"),
			impl.OffersVariant(ternary, spec.Documented), impl.OffersOperation(ternary, "pack_base3"),
		}
		if diff := cmp.Diff([]bool{c.cot, c.squish6, c.compress, c.ternary, c.pack}, got); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.what, c.offers, diff)
		}
		if impl.OffersOperation(ternary, "no_such") {
			t.Errorf("%s: an operation that does not exist is offered", c.what)
		}
		for _, m := range spec.Modules() {
			if !impl.Has(m) && (impl.OffersVariant(m, spec.Documented) || impl.OffersOperation(m, "stats")) {
				t.Errorf("%s: %s is offered without a constructor", c.what, m.Name)
			}
		}
	}
}

func TestImplementationValidate(t *testing.T) {
	good := [][]string{nil, {}, {"cot-compress"}, {"cot-compress:squish6"}, {"ternary-quant/pack_2bit", "ternary-quant"}, spec.OffersEverything(offering(nil))}
	for _, offers := range good {
		impl := offering(offers)
		if err := impl.Validate(); err != nil {
			t.Errorf("offers %q: %v", offers, err)
		}
	}
	both := []string{"cot-compress", "ternary-quant"}
	for _, entry := range []string{
		"", "/", ":", "no-such", "ternary-quant:", "ternary-quant/", "ternary-quant:squish6", "cot-compress:", "cot-compress:documented",
		"cot-compress:squish6/compress", "cot-compress/compress:squish6", "ternary-quant/no_such", "ternary-quant/quantize",
		"cot-compress/pack_2bit", "delta-compress", "delta-compress:squish6", "delta-compress/compress", " ternary-quant", "Ternary-Quant",
	} {
		refuseOffers(t, append(both[:2:2], entry), entry)
	}
	// An operation without a variant to call it on.
	refuseOffers(t, []string{"ternary-quant/pack_2bit"}, "ternary-quant/pack_2bit")
	refuseOffers(t, []string{"ternary-quant/pack_2bit", "cot-compress"}, "ternary-quant/pack_2bit")
	for _, u := range []float64{math.NaN(), math.Inf(1), -0x1p-24, 1} {
		impl := offering(nil)
		impl.UnitRoundoff = u
		if err := impl.Validate(); !errors.Is(err, spec.Invalid) {
			t.Errorf("unit roundoff %v: %v, want Invalid", u, err)
		}
	}
	nameless := offering(nil)
	nameless.Name = ""
	if err := nameless.Validate(); !errors.Is(err, spec.Invalid) {
		t.Errorf("no name: %v, want Invalid", err)
	}
}

func refuseOffers(t *testing.T, offers []string, entry string) {
	t.Helper()
	impl := offering(offers)
	if err := impl.Validate(); !errors.Is(err, spec.Invalid) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%q", entry)) {
		t.Errorf("offers %q: %v, want Invalid, naming %q", offers, err, entry)
	}
}

func TestRoundoffIsFloat32sUnlessNamed(t *testing.T) {
	for named, want := range map[float64]float64{0: 0x1p-24, 0x1p-11: 0x1p-11, 0x1p-8: 0x1p-8} {
		impl := spec.Implementation{UnitRoundoff: named}
		if got := impl.Roundoff(); got != want {
			t.Errorf("roundoff %v where %v is named, want %v", got, named, want)
		}
	}
}

func TestResizeReusesMemory(t *testing.T) {
	s := make([]float32, 3, 8)
	if got := spec.Resize(s, 8); len(got) != 8 || &got[0] != &s[0] {
		t.Errorf("8 of a capacity of 8: length %d, or other memory", len(got))
	}
	if got := spec.Resize(s, 0); len(got) != 0 || cap(got) != 8 {
		t.Errorf("0 of a capacity of 8: length %d, capacity %d", len(got), cap(got))
	}
	if got := spec.Resize(s, 9); len(got) != 9 {
		t.Errorf("9 of a capacity of 8: length %d", len(got))
	}
	if got := spec.Resize([]int8(nil), 0); len(got) != 0 {
		t.Errorf("0 of nothing: length %d", len(got))
	}
	var m spec.Matrix
	var x spec.Heads
	m.Resize(4, 6)
	x.Resize(2, 3, 5)
	if allocations := testing.AllocsPerRun(10, func() {
		m.Resize(3, 8)
		m.Resize(4, 6)
		x.Resize(5, 2, 3)
		x.Resize(2, 3, 5)
	}); allocations != 0 {
		t.Errorf("resizing to no more than before allocates %v times", allocations)
	}
	if err := spec.CheckMatrix("m", "a", m, 4, 6); err != nil {
		t.Error(err)
	}
	if err := spec.CheckHeads("m", "a", x, 2, 3, 5); err != nil {
		t.Error(err)
	}
}

func TestRowsAndHeadsShareMemoryAndStayApart(t *testing.T) {
	m := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{0, 1, 2, 3, 4, 5}}
	row := m.Row(0)
	row[2] = 9
	_ = append(row, 7)
	if m.Data[2] != 9 || m.Data[3] != 3 {
		t.Errorf("after writing to row 0 and appending to it: %v", m.Data)
	}
	// Two heads of one token, with room for another.
	x := spec.Heads{Heads: 2, Tokens: 1, Dim: 2, Stride: 4, Data: []float32{0, 1, -1, -1, 2, 3}}
	for h, want := range [][]float32{{0, 1}, {2, 3}} {
		head := x.Head(h)
		if head.Rows != 1 || head.Cols != 2 || !slices.Equal(head.Data, want) || cap(head.Data) != 2 {
			t.Errorf("head %d: %+v, capacity %d, want %v", h, head, cap(head.Data), want)
		}
	}
}

func TestVolumeIsTheProductWhereItFits(t *testing.T) {
	if n, ok := spec.Volume(); n != 1 || !ok {
		t.Errorf("Volume() = %d, %v, want 1", n, ok)
	}
	for _, dims := range [][]int{{math.MaxInt, math.MaxInt, 0}, {0, math.MaxInt, math.MaxInt}, {1 << 62, 4, 0, 3}} {
		if n, ok := spec.Volume(dims...); n != 0 || !ok {
			t.Errorf("Volume(%v) = %d, %v, want 0", dims, n, ok)
		}
	}
	for _, dims := range [][]int{{1 << 62, 4}, {1 << 62, 4, 3}, {1 << 62, 2}, {math.MaxInt, 0, -1}} {
		if n, ok := spec.Volume(dims...); n != 0 || ok {
			t.Errorf("Volume(%v) = %d, %v, want none", dims, n, ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		dims := rapid.SliceOfN(rapid.SampledFrom(edges), 0, 5).Draw(t, "dims")
		product, fits := big.NewInt(1), true
		for _, d := range dims {
			product.Mul(product, big.NewInt(int64(d)))
			fits = fits && d >= 0
		}
		fits = fits && product.Cmp(big.NewInt(math.MaxInt)) <= 0
		n, ok := spec.Volume(dims...)
		if ok != fits || (ok && int64(n) != product.Int64()) || (!ok && n != 0) {
			t.Fatalf("Volume(%v) = %d, %v, the product is %v", dims, n, ok, product)
		}
	})
}

func TestCheckMatrix(t *testing.T) {
	six := make([]float32, 6)
	for _, c := range []struct {
		m          spec.Matrix
		rows, cols int
		fits       bool
	}{
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, 2, 3, true},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, -1, 3, true},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, 2, -1, true},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, -1, math.MinInt, true},
		{spec.Matrix{}, 0, 0, true},
		{spec.Matrix{Rows: 4, Cols: 0}, 4, 0, true},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, 3, 2, false},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, -1, 2, false},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six}, 0, 3, false},
		{spec.Matrix{Rows: 2, Cols: 3, Data: six[:5]}, -1, -1, false},
		{spec.Matrix{Rows: 2, Cols: 2, Data: six}, -1, -1, false},
		{spec.Matrix{Rows: -2, Cols: -3, Data: six}, -1, -1, false},
		{spec.Matrix{Rows: -1, Cols: 0}, -1, -1, false},
		{spec.Matrix{Rows: 0, Cols: math.MinInt}, -1, -1, false},
		{spec.Matrix{Rows: 1 << 32, Cols: 1 << 32}, -1, -1, false},                        // 2⁶⁴ is 0 modulo 2⁶⁴
		{spec.Matrix{Rows: 1 << 62, Cols: 4}, -1, -1, false},                              // likewise
		{spec.Matrix{Rows: math.MinInt, Cols: 2}, -1, -1, false},                          // likewise
		{spec.Matrix{Rows: math.MaxInt, Cols: math.MaxInt, Data: six[:1]}, -1, -1, false}, // 1 modulo 2⁶⁴
	} {
		err := spec.CheckMatrix("gptq-layer", "weights", c.m, c.rows, c.cols)
		if c.fits != (err == nil) {
			t.Errorf("%d × %d with %d elements as (%d, %d): %v", c.m.Rows, c.m.Cols, len(c.m.Data), c.rows, c.cols, err)
		}
		if err != nil && (!errors.Is(err, spec.Invalid) || !strings.HasPrefix(err.Error(), "gptq-layer: weights: want ")) {
			t.Errorf("%v: kind %q", err, spec.KindOf(err))
		}
	}
}

func TestCheckTensor(t *testing.T) {
	six := make([]float32, 6)
	for _, c := range []struct {
		x    spec.Tensor
		fits bool
	}{
		{spec.Tensor{Shape: []int{6}, Data: six}, true},
		{spec.Tensor{Shape: []int{1, 2, 3}, Data: six}, true},
		{spec.Tensor{Data: six[:1]}, true},
		{spec.Tensor{Shape: []int{2, 0}}, true},
		{spec.Tensor{}, false},
		{spec.Tensor{Data: six}, false},
		{spec.Tensor{Shape: []int{2, 2}, Data: six}, false},
		{spec.Tensor{Shape: []int{-2, -3}, Data: six}, false},
		{spec.Tensor{Shape: []int{1 << 62, 4}}, false}, // 2⁶⁴ is 0 modulo 2⁶⁴
	} {
		err := spec.CheckTensor("model-surgery", "x", c.x)
		if c.fits != (err == nil) || err != nil && (!errors.Is(err, spec.Invalid) || !strings.HasPrefix(err.Error(), "model-surgery: x: want ")) {
			t.Errorf("shape %v with %d elements: %v", c.x.Shape, len(c.x.Data), err)
		}
	}
}

// A plan is judged without memory or time that its numbers, rather than its lists,
// would take.
func TestSurgeryPlansAreJudgedWhateverTheirSize(t *testing.T) {
	huge := spec.SurgeryPlan{NLayers: math.MaxInt, NHeads: math.MaxInt, HeadDim: 1}
	pruned := func(p spec.SurgeryPlan, heads ...int) spec.SurgeryPlan {
		p.HeadsToPrune = []spec.LayerHeads{{Layer: p.NLayers - 1, Heads: heads}}
		return p
	}
	one := huge
	one.NKVHeads = 1
	pairs := spec.SurgeryPlan{NLayers: 1, NHeads: 1 << 62, HeadDim: 1, NKVHeads: 1 << 61}
	long := huge
	for i := range 100_000 {
		long.LayersToRemove = append(long.LayersToRemove, 99_999-i)
	}
	twice := long
	twice.LayersToRemove = append(slices.Clone(long.LayersToRemove), 50_000)
	for what, c := range map[string]struct {
		plan spec.SurgeryPlan
		fits bool
	}{
		"nothing":                            {huge, true},
		"the last head":                      {pruned(huge, math.MaxInt-1), true},
		"a head beyond the last":             {pruned(huge, math.MaxInt), false},
		"one head of those that share all":   {pruned(one, 0), false},
		"the last pair":                      {pruned(pairs, 1<<62-1, 1<<62-2), true},
		"half the last pair":                 {pruned(pairs, 1<<62-1), false},
		"halves of two pairs":                {pruned(pairs, 1<<62-2, 1<<62-3), false},
		"a long list of layers, descending":  {long, true},
		"a long list with one of them twice": {twice, false},
	} {
		if err := c.plan.Validate(); c.fits != (err == nil) || err != nil && !errors.Is(err, spec.Invalid) {
			t.Errorf("%s: %v, want it to fit: %v", what, err, c.fits)
		}
	}
}

func TestCheckHeads(t *testing.T) {
	data := make([]float32, 24)
	for _, c := range []struct {
		x                  spec.Heads
		heads, tokens, dim int
		fits               bool
	}{
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 12, Data: data}, 2, 3, 4, true},
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 12, Data: data}, 2, -1, 4, true},
		{spec.Heads{Heads: 2, Tokens: 2, Dim: 4, Stride: 16, Data: data}, 2, 2, 4, true}, // the last head ends where the data does
		{spec.Heads{Heads: 2, Tokens: 1, Dim: 4, Stride: 12, Data: data}, 2, 1, 4, true},
		{spec.Heads{}, 0, 0, 0, true},
		{spec.Heads{Heads: 2, Tokens: 0, Dim: 4}, 2, -1, 4, true},
		{spec.Heads{Heads: 2, Tokens: 0, Dim: 4, Stride: 24, Data: data}, 2, 0, 4, true},
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 12, Data: data}, 3, 3, 4, false},
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 12, Data: data}, 2, 2, 4, false},
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 12, Data: data}, 2, 3, 3, false},
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 13, Data: data}, 2, 3, 4, false}, // the last head ends beyond the data
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 11, Data: data}, 2, 3, 4, false}, // heads overlap
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: 12, Data: data[:23]}, 2, 3, 4, false},
		{spec.Heads{Heads: 1, Tokens: 3, Dim: 4, Stride: 0, Data: data}, 1, 3, 4, false},
		{spec.Heads{Heads: 2, Tokens: 3, Dim: 4, Stride: -12, Data: data}, 2, 3, 4, false},
		{spec.Heads{Heads: -1, Tokens: 3, Dim: 4, Stride: 12, Data: data}, -1, 3, 4, false},
		{spec.Heads{Heads: math.MinInt, Tokens: 0, Dim: 0, Stride: 0}, math.MinInt, 0, 0, false},
		{spec.Heads{Heads: 2, Tokens: -3, Dim: -4, Stride: 12, Data: data}, 2, -1, -4, false},
		{spec.Heads{Heads: 2, Tokens: 0, Dim: 4, Stride: 25, Data: data}, 2, 0, 4, false}, // head 1 begins beyond the data
		{spec.Heads{Heads: 2, Tokens: 1 << 32, Dim: 1 << 32, Stride: 0}, 2, -1, 1 << 32, false},
		{spec.Heads{Heads: 1<<32 + 1, Tokens: 0, Dim: 4, Stride: 1 << 32}, 1<<32 + 1, 0, 4, false},
		{spec.Heads{Heads: 2, Tokens: math.MaxInt, Dim: 1, Stride: math.MaxInt, Data: data}, 2, -1, 1, false}, // span + size overflows
	} {
		err := spec.CheckHeads("cross-doc-attn", "query", c.x, c.heads, c.tokens, c.dim)
		if c.fits != (err == nil) {
			t.Errorf("(%d, %d, %d), stride %d, %d elements as (%d, %d, %d): %v",
				c.x.Heads, c.x.Tokens, c.x.Dim, c.x.Stride, len(c.x.Data), c.heads, c.tokens, c.dim, err)
		}
		if err != nil && (!errors.Is(err, spec.Invalid) || !strings.HasPrefix(err.Error(), "cross-doc-attn: query: want ")) {
			t.Errorf("%v: kind %q", err, spec.KindOf(err))
		}
	}
}

// What CheckHeads accepts can be read, head by head, whatever its fields say.
func TestAcceptedHeadsCanBeRead(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.OneOf(rapid.IntRange(0, 4), rapid.SampledFrom(edges))
		x := spec.Heads{Heads: dim.Draw(t, "heads"), Tokens: dim.Draw(t, "tokens"), Dim: dim.Draw(t, "dim")}
		x.Stride = rapid.OneOf(rapid.Just(x.Tokens*x.Dim), dim).Draw(t, "stride")
		x.Data = make([]float32, rapid.IntRange(0, 64).Draw(t, "elements"))
		if spec.CheckHeads("m", "x", x, x.Heads, x.Tokens, x.Dim) != nil {
			return
		}
		accepted++
		for _, h := range []int{0, 1, x.Heads / 2, x.Heads - 1} {
			if h < 0 || h >= x.Heads {
				continue
			}
			if err := spec.CheckMatrix("m", "head", x.Head(h), x.Tokens, x.Dim); err != nil {
				t.Fatal(err)
			}
		}
	})
	if accepted == 0 {
		t.Error("nothing was accepted")
	}
}

func TestCheckFinite(t *testing.T) {
	finite := []float32{0, float32(math.Copysign(0, -1)), 1, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}
	if err := spec.CheckFinite("ternary-quant", "weights", finite); err != nil {
		t.Error(err)
	}
	if err := spec.CheckFinite("ternary-quant", "weights", nil); err != nil {
		t.Error(err)
	}
	signalling := math.Float32frombits(0x7f800001)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), signalling, -signalling} {
		for i := range finite {
			values := slices.Clone(finite)
			values[i] = bad
			err := spec.CheckFinite("ternary-quant", "weights", values)
			where := fmt.Sprintf("ternary-quant: weights[%d]: ", i)
			if !errors.Is(err, spec.Invalid) || !strings.HasPrefix(fmt.Sprint(err), where) {
				t.Errorf("%v at %d: %v", bad, i, err)
			}
		}
	}
}
