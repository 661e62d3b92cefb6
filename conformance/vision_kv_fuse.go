package conformance

import (
	"fmt"
	"math"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var visionKVFuse = spec.ModuleByName("vision-kv-fuse")

var visionKVFuseModule = &module{
	spec: visionKVFuse,
	laws: map[string]func(*trial){
		"lists":      fuseLists,
		"round-trip": fuseRoundTrip,
		"isolation":  fuseIsolation,
		"full":       fuseFull,
		"full-kind":  fuseFullKind,
		"reset":      fuseReset,
		"merged":     fuseMerged,
		"fused":      fuseFused,
		"views":      fuseViews,
		"stats":      fuseStats,
	},
	program: fuseProgram,
	badConfigs: map[string]any{
		"text_capacity 0":             fuseConfig(0, 1, 1, 1),
		"text_capacity −1":            fuseConfig(-1, 1, 1, 1),
		"vision_capacity 0":           fuseConfig(1, 0, 1, 1),
		"vision_capacity −1":          fuseConfig(1, -1, 1, 1),
		"n_heads 0":                   fuseConfig(1, 1, 0, 1),
		"n_heads −2":                  fuseConfig(1, 1, -2, -2),
		"head_dim 0":                  fuseConfig(1, 1, 1, 0),
		"head_dim −4":                 fuseConfig(1, 1, 1, -4),
		"stores beyond 2³⁰":           fuseConfig(1<<28, 1<<28+1, 1, 1),
		"stores whose size overflows": fuseConfig(1, 1, math.MaxInt, math.MaxInt),
		"capacities whose sum does":   fuseConfig(math.MaxInt, math.MaxInt, 1, 1),
	},
	badSteps: fuseBadSteps,
	equal: map[string]comparison{
		"get_kv": func(t *trial, _ any, _ []any, got, want any) {
			t.sameView("", *got.(*spec.KVView), *want.(*spec.KVView))
		},
		"get_fused": func(t *trial, _ any, _ []any, got, want any) {
			t.sameFused(*got.(*spec.FusedKV), *want.(*spec.FusedKV))
		},
	},
	rows: []row{
		{"vision-kv-fuse/append", fuseAppendRow, fuseSameResult},
		{"vision-kv-fuse/get-kv", fuseGetRow, fuseSameResult},
	},
}

func fuseConfig(text, vision, heads, dim int) spec.VisionKVFuseConfig {
	return spec.VisionKVFuseConfig{TextCapacity: text, VisionCapacity: vision, NHeads: heads, HeadDim: dim}
}

func drawFuseConfig(t *trial) spec.VisionKVFuseConfig {
	return fuseConfig(size(t, 1, 6, "text_capacity"), size(t, 1, 6, "vision_capacity"), size(t, 1, 3, "n_heads"), size(t, 1, 5, "head_dim"))
}

// A fuseToken is a token's key and value. Its fields are exported so that they can
// be cloned and overwritten.
type fuseToken struct{ Key, Value spec.Matrix }

func drawFuseToken(t *trial, c spec.VisionKVFuseConfig) fuseToken {
	shape := spec.HierarchicalKVConfig{NHeads: c.NHeads, HeadDim: c.HeadDim}
	return fuseToken{payload(t, shape, "key"), payload(t, shape, "value")}
}

// A fuseModel is two lists of tokens.
type fuseModel struct {
	config       spec.VisionKVFuseConfig
	text, vision []fuseToken
	stats        spec.VisionKVFuseStats
}

func (m *fuseModel) room(modality spec.Modality) int {
	if modality == spec.Text {
		return m.config.TextCapacity - len(m.text)
	}
	return m.config.VisionCapacity - len(m.vision)
}

func (m *fuseModel) append(modality spec.Modality, token fuseToken) {
	if modality == spec.Text {
		m.text = append(m.text, token)
		m.stats.TextAppends++
	} else {
		m.vision = append(m.vision, token)
		m.stats.VisionAppends++
	}
}

func (m *fuseModel) reset(modality spec.Modality) {
	if modality != spec.Vision {
		m.text = nil
	}
	if modality != spec.Text {
		m.vision = nil
	}
	m.stats.Resets++
}

// view is what there should be of a modality.
func (m *fuseModel) view(modality spec.Modality) spec.KVView {
	tokens := m.text
	if modality == spec.Vision {
		tokens = m.vision
	}
	return viewOf(m.config, tokens)
}

func viewOf(c spec.VisionKVFuseConfig, tokens []fuseToken) (v spec.KVView) {
	v.Keys.Resize(c.NHeads, len(tokens), c.HeadDim)
	v.Values.Resize(c.NHeads, len(tokens), c.HeadDim)
	for h := range c.NHeads {
		for i, token := range tokens {
			copy(v.Keys.Head(h).Row(i), token.Key.Row(h))
			copy(v.Values.Head(h).Row(i), token.Value.Row(h))
		}
	}
	return v
}

func (m *fuseModel) fused() spec.FusedKV {
	return spec.FusedKV{Text: m.view(spec.Text), Vision: m.view(spec.Vision)}
}

// sameTensor compares tensors head by head: strides are the implementation's own.
func (t *trial) sameTensor(what string, got, want spec.Heads) {
	t.Helper()
	t.hasShape(got, want.Heads, want.Tokens, want.Dim)
	for h := range want.Heads {
		t.sameBits(fmt.Sprintf("%s, head %d", what, h), got.Head(h), want.Head(h))
	}
}

func (t *trial) sameView(what string, got, want spec.KVView) {
	t.Helper()
	t.sameTensor(what+"keys", got.Keys, want.Keys)
	t.sameTensor(what+"values", got.Values, want.Values)
}

func (t *trial) sameFused(got, want spec.FusedKV) {
	t.Helper()
	t.sameView("text ", got.Text, want.Text)
	t.sameView("vision ", got.Vision, want.Vision)
}

func viewed(t *trial, f spec.VisionKVFuse, modality spec.Modality) (v spec.KVView) {
	t.Helper()
	t.must(f.GetKv(&v, modality))
	return v
}

func drawFuseModality(t *trial) spec.Modality {
	return rapid.SampledFrom([]spec.Modality{spec.Text, spec.Vision}).Draw(t.T, "modality")
}

func drawFuseReset(t *trial) spec.Modality {
	return rapid.SampledFrom([]spec.Modality{spec.Text, spec.Vision, spec.Both, ""}).Draw(t.T, "reset")
}

func (token fuseToken) step(modality spec.Modality) step {
	return call(visionKVFuse, "append", modality, token.Key, token.Value)
}

func fuseProgram(t *trial, _ spec.Variant) program {
	c := drawFuseConfig(t)
	p := program{config: c}
	m := fuseModel{config: c}
	fusible := t.impl.OffersOperation(visionKVFuse, "append_fused")
	for range size(t, 1, 16, "calls") {
		modality := drawFuseModality(t)
		switch rapid.IntRange(0, 7).Draw(t.T, "call") {
		case 0, 1, 2:
			if m.room(modality) > 0 {
				token := drawFuseToken(t, c)
				m.append(modality, token)
				p.steps = append(p.steps, token.step(modality))
			}
		case 3:
			if fusible && m.room(spec.Text) > 0 && m.room(spec.Vision) > 0 {
				vision, text := drawFuseToken(t, c), drawFuseToken(t, c)
				m.append(spec.Vision, vision)
				m.append(spec.Text, text)
				p.steps = append(p.steps, call(visionKVFuse, "append_fused", vision.Key, vision.Value, text.Key, text.Value))
			}
		case 4, 5:
			p.steps = append(p.steps, call(visionKVFuse, "get_kv", modality))
		case 6:
			p.steps = append(p.steps, call(visionKVFuse, "get_fused"))
		case 7:
			emptied := drawFuseReset(t)
			m.reset(emptied)
			p.steps = append(p.steps, call(visionKVFuse, "reset", emptied))
		}
	}
	p.steps = append(p.steps, call(visionKVFuse, "get_kv", spec.Text), call(visionKVFuse, "get_kv", spec.Vision))
	return p
}

func fuseBadSteps(t *trial, config any) (list []badStep) {
	c := config.(spec.VisionKVFuseConfig)
	h, d := c.NHeads, c.HeadDim
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	good := drawFuseToken(t, c)
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	for _, modality := range []spec.Modality{"audio", "", "both", "Text", "vision "} {
		what := fmt.Sprintf("modality %q", string(modality))
		bad(what, good.step(modality))
		bad(what, call(visionKVFuse, "get_kv", modality))
		if modality != spec.Both && modality != "" {
			bad(what, call(visionKVFuse, "reset", modality))
		}
	}
	modality := drawFuseModality(t)
	for _, wrong := range []struct {
		what string
		m    spec.Matrix
	}{
		{"empty", spec.Matrix{}},
		{"of one head more", shaped(h+1, d)},
		{"of one head less", shaped(h-1, d)},
		{"of one element more", shaped(h, d+1)},
		{"of one element less", shaped(h, d-1)},
		{"with less data than its shape", spec.Matrix{Rows: h, Cols: d, Data: make([]float32, h*d-1)}},
		{"with more data than its shape", spec.Matrix{Rows: h, Cols: d, Data: make([]float32, h*d+1)}},
		{"of a negative shape", spec.Matrix{Rows: -h, Cols: -d, Data: make([]float32, h*d)}},
		{"of countless heads", spec.Matrix{Rows: math.MaxInt, Cols: d, Data: make([]float32, h*d)}},
	} {
		bad("a key "+wrong.what, fuseToken{wrong.m, good.Value}.step(modality))
		bad("a value "+wrong.what, fuseToken{good.Key, wrong.m}.step(modality))
		for i := range 4 {
			s := call(visionKVFuse, "append_fused", good.Key, good.Value, good.Key, good.Value)
			s.args[i] = wrong.m
			bad(fmt.Sprintf("a %s %s", s.op.Args[i].Name, wrong.what), s)
		}
	}
	return list
}

func fuseLists(t *trial) {
	c := drawFuseConfig(t)
	f, m := open(t, t.impl.VisionKVFuse, c), fuseModel{config: c}
	t.Repeat(map[string]func(*rapid.T){
		"append": func(*rapid.T) {
			modality, token := drawFuseModality(t), drawFuseToken(t, c)
			err := f.Append(modality, token.Key, token.Value)
			if m.room(modality) == 0 {
				t.refused("a token too many", err)
				return
			}
			t.must(err)
			m.append(modality, token)
		},
		"reset": func(*rapid.T) {
			modality := drawFuseReset(t)
			t.must(f.Reset(modality))
			m.reset(modality)
		},
		"": func(*rapid.T) {
			t.sameFused(spec.FusedKV{Text: viewed(t, f, spec.Text), Vision: viewed(t, f, spec.Vision)}, m.fused())
			t.equal("text_len", f.TextLen(), len(m.text))
			t.equal("vision_len", f.VisionLen(), len(m.vision))
			t.equal("stats", f.Stats(), m.stats)
			want := share(len(m.vision), len(m.text))
			t.within("memory_ratio", f.MemoryRatio(), want, 0x1p-50*want)
		},
	})
}

// appended appends drawn tokens of a modality, as many as a number of at most its
// capacity says.
func appended(t *trial, f spec.VisionKVFuse, c spec.VisionKVFuseConfig, modality spec.Modality, n int) (tokens []fuseToken) {
	t.Helper()
	for range n {
		token := drawFuseToken(t, c)
		t.must(f.Append(modality, token.Key, token.Value))
		tokens = append(tokens, token)
	}
	return tokens
}

// capacityOf is the room of an empty modality.
func capacityOf(c spec.VisionKVFuseConfig, modality spec.Modality) int {
	return (&fuseModel{config: c}).room(modality)
}

func fuseRoundTrip(t *trial) {
	c, modality := drawFuseConfig(t), drawFuseModality(t)
	f := open(t, t.impl.VisionKVFuse, c)
	tokens := appended(t, f, c, modality, size(t, 1, capacityOf(c, modality), "tokens"))
	t.sameView("", viewed(t, f, modality), viewOf(c, tokens))
}

func fuseIsolation(t *trial) {
	c := drawFuseConfig(t)
	among, alone := open(t, t.impl.VisionKVFuse, c), open(t, t.impl.VisionKVFuse, c)
	one := drawFuseModality(t)
	other := spec.Text
	if one == spec.Text {
		other = spec.Vision
	}
	m := fuseModel{config: c}
	for range size(t, 1, 16, "calls") {
		switch rapid.IntRange(0, 4).Draw(t.T, "call") {
		case 0, 1:
			if m.room(one) > 0 {
				token := drawFuseToken(t, c)
				t.must(among.Append(one, token.Key, token.Value))
				t.must(alone.Append(one, token.Key, token.Value))
				m.append(one, token)
			}
		case 2, 3:
			token := drawFuseToken(t, c)
			if err := among.Append(other, token.Key, token.Value); m.room(other) > 0 {
				t.must(err)
				m.append(other, token)
			}
		case 4:
			t.must(among.Reset(other))
			m.reset(other)
		}
		t.sameView("", viewed(t, among, one), viewed(t, alone, one))
	}
}

func fuseFull(t *trial) {
	c, modality := drawFuseConfig(t), drawFuseModality(t)
	f := open(t, t.impl.VisionKVFuse, c)
	tokens := appended(t, f, c, modality, capacityOf(c, modality))
	before := f.Stats()
	for range size(t, 1, 3, "too many") {
		extra := drawFuseToken(t, c)
		t.refused("a token too many", f.Append(modality, extra.Key, extra.Value))
		t.as(spec.ChangedState, func() {
			t.sameView("", viewed(t, f, modality), viewOf(c, tokens))
			t.equal("stats", f.Stats(), before)
		})
	}
}

func fuseFullKind(t *trial) {
	c, modality := drawFuseConfig(t), drawFuseModality(t)
	f := open(t, t.impl.VisionKVFuse, c)
	appended(t, f, c, modality, capacityOf(c, modality))
	extra := drawFuseToken(t, c)
	t.kind("a token too many", f.Append(modality, extra.Key, extra.Value), spec.Capacity)
}

func fuseReset(t *trial) {
	c := drawFuseConfig(t)
	f := open(t, t.impl.VisionKVFuse, c)
	text := appended(t, f, c, spec.Text, size(t, 1, c.TextCapacity, "text tokens"))
	vision := appended(t, f, c, spec.Vision, size(t, 1, c.VisionCapacity, "vision tokens"))
	modality := drawFuseReset(t)
	before := f.Stats()
	t.must(f.Reset(modality))
	before.Resets++
	t.equal("stats", f.Stats(), before)
	if modality != spec.Vision {
		t.sameView("text ", viewed(t, f, spec.Text), viewOf(c, nil))
		text = appended(t, f, c, spec.Text, c.TextCapacity)
	}
	if modality != spec.Text {
		t.sameView("vision ", viewed(t, f, spec.Vision), viewOf(c, nil))
		vision = appended(t, f, c, spec.Vision, c.VisionCapacity)
	}
	t.sameFused(spec.FusedKV{Text: viewed(t, f, spec.Text), Vision: viewed(t, f, spec.Vision)},
		spec.FusedKV{Text: viewOf(c, text), Vision: viewOf(c, vision)})
}

// fuseMerged attends over the views as over two documents, and over what was
// appended as one sequence.
func fuseMerged(t *trial) {
	c := drawFuseConfig(t)
	f := open(t, t.impl.VisionKVFuse, c)
	scale := 1 / math.Sqrt(float64(c.HeadDim))
	x := attentionInput{query: heads(t, c.NHeads, size(t, 1, 3, "queries"), c.HeadDim, attentionStyles, "query"), scale: scale}
	counts := map[spec.Modality]int{spec.Text: size(t, 1, c.TextCapacity, "text tokens"), spec.Vision: size(t, 1, c.VisionCapacity, "vision tokens")}
	var joined []fuseToken
	for _, modality := range []spec.Modality{spec.Text, spec.Vision} {
		for range counts[modality] {
			token := fuseToken{matrix(t, c.NHeads, c.HeadDim, attentionStyles, "key"), matrix(t, c.NHeads, c.HeadDim, valueStyles, "value")}
			t.must(f.Append(modality, token.Key, token.Value))
			joined = append(joined, token)
		}
	}
	whole := viewOf(c, joined)
	x.keys, x.values = whole.Keys, whole.Values
	text, vision := viewed(t, f, spec.Text), viewed(t, f, spec.Vision)
	merge := open(t, t.ref.CrossDocAttn, spec.CrossDocAttnConfig{NHeads: c.NHeads, HeadDim: c.HeadDim, MaxDocs: 2, SoftmaxScale: scale})
	var out spec.Heads
	t.hasShape(text.Keys, c.NHeads, counts[spec.Text], c.HeadDim)
	t.hasShape(vision.Keys, c.NHeads, counts[spec.Vision], c.HeadDim)
	t.must(merge.Forward(&out, x.query, []spec.Heads{text.Keys, vision.Keys}, []spec.Heads{text.Values, vision.Values}))
	var want []float64
	x.eachOutput(out, func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			want = a.outputs()
		}
		t.within(where, got, want[i], a.budget(t.u, i))
	})
}

func fuseFused(t *trial) {
	c := drawFuseConfig(t)
	f, m := open(t, t.impl.VisionKVFuse, c), fuseModel{config: c}
	both := f.(spec.VisionKVFused)
	for range size(t, 1, 10, "calls") {
		if rapid.IntRange(0, 3).Draw(t.T, "call") == 0 {
			modality := drawFuseModality(t)
			if m.room(modality) > 0 {
				m.append(modality, appended(t, f, c, modality, 1)[0])
			}
			continue
		}
		vision, text := drawFuseToken(t, c), drawFuseToken(t, c)
		err := both.AppendFused(vision.Key, vision.Value, text.Key, text.Value)
		if m.room(spec.Text) > 0 && m.room(spec.Vision) > 0 {
			t.must(err)
			m.append(spec.Vision, vision)
			m.append(spec.Text, text)
		} else {
			t.refused("a fused append with a modality full", err)
		}
		var fused spec.FusedKV
		t.must(both.GetFused(&fused))
		t.sameFused(fused, m.fused())
		t.sameFused(spec.FusedKV{Text: viewed(t, f, spec.Text), Vision: viewed(t, f, spec.Vision)}, m.fused())
		t.equal("stats", f.Stats(), m.stats)
	}
}

func fuseViews(t *trial) {
	c := drawFuseConfig(t)
	f, m := open(t, t.impl.VisionKVFuse, c), fuseModel{config: c}
	t.as(spec.Aliased, func() {
		for range size(t, 1, 8, "appends") {
			modality := drawFuseModality(t)
			if m.room(modality) == 0 {
				t.must(f.Reset(modality))
				m.reset(modality)
			}
			token := drawFuseToken(t, c)
			lent := cloneAs(token)
			t.must(f.Append(modality, lent.Key, lent.Value))
			overwrite(lent)
			m.append(modality, token)

			// Views of before the next append, whatever else is asked.
			text, vision := viewed(t, f, spec.Text), viewed(t, f, spec.Vision)
			for range size(t, 0, 2, "more gets") {
				viewed(t, f, drawFuseModality(t))
			}
			f.Stats()
			f.MemoryRatio()
			t.sameFused(spec.FusedKV{Text: text, Vision: vision}, m.fused())
		}
	})
}

func fuseStats(t *trial) {
	c := drawFuseConfig(t)
	f, m := open(t, t.impl.VisionKVFuse, c), fuseModel{config: c}
	for range size(t, 0, 16, "calls") {
		modality := drawFuseModality(t)
		if m.room(modality) == 0 || rapid.IntRange(0, 3).Draw(t.T, "call") == 0 {
			modality = drawFuseReset(t)
			t.must(f.Reset(modality))
			m.reset(modality)
			continue
		}
		m.append(modality, appended(t, f, c, modality, 1)[0])
	}
	t.equal("stats", f.Stats(), m.stats)
	want := share(len(m.vision), len(m.text))
	t.within("memory_ratio", f.MemoryRatio(), want, 0x1p-50*want)
}

// fuseRowConfig is a row's config: the default capacities, and the workload's
// shape.
func fuseRowConfig(w spec.Workload) spec.VisionKVFuseConfig {
	d := spec.DefaultVisionKVFuseConfig()
	return fuseConfig(w.Int("text_capacity", d.TextCapacity), w.Int("vision_capacity", d.VisionCapacity), w.Int("n_heads", d.NHeads), w.Int("head_dim", d.HeadDim))
}

func fuseRowKey(c spec.VisionKVFuseConfig) spec.Matrix {
	return spec.Matrix{Rows: c.NHeads, Cols: c.HeadDim, Data: gaussian(c.NHeads*c.HeadDim, 23)}
}

// fuseAppendRow appends until a modality is full; an untimed reset makes room.
func fuseAppendRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := fuseRowConfig(w)
	f, err := impl.VisionKVFuse(c)
	if err != nil {
		return timing{}, err
	}
	key := fuseRowKey(c)
	t := timing{
		refill: func() error { return f.Reset(spec.Both) },
		calls:  min(c.TextCapacity, c.VisionCapacity),
		call:   func(int) error { return f.Append(spec.Text, key, key) },
	}
	if name == spec.PageWorkload {
		both, ok := f.(spec.VisionKVFused)
		if !ok {
			return t, spec.Reject(spec.Unsupported, "vision-kv-fuse", "append_fused", "an instance that has it", "one without")
		}
		t.call = func(int) error { return both.AppendFused(key, key, key, key) }
	}
	t.result = func() (any, error) { return fuseContents(f) }
	return t, nil
}

// fuseContents is what both modalities hold.
func fuseContents(f spec.VisionKVFuse) (*spec.FusedKV, error) {
	var out spec.FusedKV
	if err := f.GetKv(&out.Text, spec.Text); err != nil {
		return nil, err
	}
	return &out, f.GetKv(&out.Vision, spec.Vision)
}

func fuseGetRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := fuseRowConfig(w)
	f, err := impl.VisionKVFuse(c)
	if err != nil {
		return timing{}, err
	}
	key := fuseRowKey(c)
	for range w.Int("tokens", 1) {
		if err := f.Append(spec.Text, key, key); err != nil {
			return timing{}, err
		}
		if err := f.Append(spec.Vision, key, key); err != nil {
			return timing{}, err
		}
	}
	var out spec.FusedKV
	t := timing{
		calls:  64,
		call:   func(int) error { return f.GetKv(&out.Text, spec.Text) },
		result: func() (any, error) { return &out, nil },
	}
	if name == spec.PageWorkload {
		both, ok := f.(spec.VisionKVFused)
		if !ok {
			return t, spec.Reject(spec.Unsupported, "vision-kv-fuse", "get_fused", "an instance that has it", "one without")
		}
		t.call = func(int) error { return both.GetFused(&out) }
	}
	return t, nil
}

func fuseSameResult(t *trial, got, want any) {
	t.sameFused(*got.(*spec.FusedKV), *want.(*spec.FusedKV))
}
