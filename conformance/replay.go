package conformance

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

// A replayCase is calls with the answers that they should get, from a vector or a
// recording.
type replayCase struct {
	module  *module
	name    string
	config  json.RawMessage
	variant spec.Variant // set where the config does not say it
	refused spec.ErrorKind
	steps   []replayStep
	stats   json.RawMessage // what stats says in the end; null where it was not asked
	decoder wire.Decoder
}

type replayStep struct {
	op   string
	args json.RawMessage
	out  json.RawMessage
	kind spec.ErrorKind
}

// decodeConfig returns the case's config, or the error with which a constructor
// that takes values of the config's types must refuse it.
func (c *replayCase) decodeConfig() (any, error) {
	config, err := c.decoder.DecodeConfig(c.config)
	if err == nil && c.variant != spec.Documented {
		v := reflect.New(reflect.TypeOf(config)).Elem()
		v.Set(reflect.ValueOf(config))
		v.FieldByName("Variant").Set(reflect.ValueOf(c.variant))
		config = v.Interface()
	}
	return config, err
}

// variantOf returns a config's variant.
func variantOf(config any) spec.Variant {
	if f := reflect.ValueOf(config).FieldByName("Variant"); f.IsValid() {
		return f.Interface().(spec.Variant)
	}
	return spec.Documented
}

// offered reports whether an implementation offers all that the case calls.
func (c *replayCase) offered(impl *spec.Implementation) bool {
	config, err := c.decodeConfig()
	if err == nil { // a variant that does not exist is for all to refuse
		if v := variantOf(config); c.module.spec.HasVariant(v) && !impl.OffersVariant(c.module.spec, v) {
			return false
		}
	}
	for _, s := range c.steps {
		if c.module.spec.Operation(s.op) != nil && !impl.OffersOperation(c.module.spec, s.op) {
			return false
		}
	}
	return true
}

// replay makes the calls on a new instance of the trial's implementation and
// compares.
func (c *replayCase) replay(t *trial, where string) {
	t.where = where
	defer func() { t.where = "" }()
	config, err := c.decodeConfig()
	m := c.module
	if c.refused != "" {
		if err == nil {
			_, err = start(t.impl, m.spec, config)
		}
		t.refused("the config", err)
		return
	}
	t.must(err)
	h, err := start(t.impl, m.spec, config)
	t.must(err)
	for i, s := range c.steps {
		t.where = fmt.Sprintf("%s, step %d", where, i)
		c.replayStep(t, h, config, s)
	}
	t.where = where
	if len(c.stats) > 0 {
		c.compareStats(t, config, do(h, m.spec, step{m.spec.Operation("stats"), nil}).dst)
	}
}

func (c *replayCase) replayStep(t *trial, h proxy.Handler, config any, s replayStep) {
	m := c.module
	o := m.spec.Operation(s.op)
	if o == nil {
		t.fail(t.symptom, "%s has no operation %q", m.spec.Name, s.op)
	}
	args, _, err := c.decoder.DecodeArgs(o, s.args)
	got := outcome{err: err} // a tensor that typed Go cannot receive is refused here
	if err == nil {
		got = do(h, m.spec, step{o, args})
	}
	if s.kind != "" {
		t.refused(s.op, got.err)
		return
	}
	t.must(got.err)
	if o.ResultType() == nil || len(s.out) == 0 {
		return
	}
	want := o.NewResult()
	if err := c.decoder.DecodeResult(o, s.out, want); err != nil {
		t.fail(t.symptom, "the expected result of %s: %v", s.op, err)
	}
	t.sameOutcome(m, config, step{o, args}, got, outcome{dst: want})
}

// compareStats compares those stats that the recording names, under the module's
// own tolerance where it has one.
func (c *replayCase) compareStats(t *trial, config, got any) {
	var names map[string]json.RawMessage
	if err := json.Unmarshal(c.stats, &names); err != nil {
		t.fail(t.symptom, "stats: %v", err)
	}
	want := c.module.spec.Operation("stats").NewResult()
	if err := c.decoder.DecodeResult(c.module.spec.Operation("stats"), c.stats, want); err != nil {
		t.fail(t.symptom, "stats: %v", err)
	}
	compare := c.module.equal["stats"]
	g, w := reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem()
	for i := range g.NumField() {
		name := g.Type().Field(i).Tag.Get("wire")
		if _, recorded := names[name]; !recorded {
			w.Field(i).Set(g.Field(i))
		} else if f := g.Field(i); f.CanFloat() && compare == nil {
			t.within(name, f.Float(), w.Field(i).Float(), recordedMean)
			w.Field(i).Set(f)
		}
	}
	if compare != nil {
		compare(t, config, nil, got, want)
	} else {
		t.sameBits("", got, want)
	}
}

// recordedMean is how far a recorded rate may be off: Squish adds 1e-9 to some
// denominators.
const recordedMean = 1e-9
