package conformance

import (
	"fmt"
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var binaryAttn = spec.ModuleByName("binary-attn")

var binaryAttnModule = &module{
	spec: binaryAttn,
	laws: map[string]func(*trial){
		"attention":         binaryAttention,
		"signs":             binarySigns,
		"zeros":             binaryZeros,
		"flip":              binaryFlip,
		"equal-keys":        binaryEqualKeys,
		"convex":            binaryConvex,
		"permutation":       binaryPermutation,
		"rows":              binaryRows,
		"match":             binaryMatch,
		"non-finite":        binaryNonFinite,
		"pack":              binaryPack,
		"unpack":            binaryUnpack,
		"packed-attention":  binaryPackedAttention,
		"pack-foreign":      binaryPackForeign,
		"stats":             binaryStats,
		"attention-squish6": binaryAttentionSquish6,
	},
	program: binaryProgram,
	badConfigs: map[string]any{
		"an unknown variant":            spec.BinaryAttnConfig{Variant: "squish7", NHeads: 1, HeadDim: 4, SoftmaxScale: 1},
		"n_heads 0":                     binaryConfig(spec.Documented, 0, 4, 1),
		"n_heads −1":                    binaryConfig(spec.Documented, -1, 4, 1),
		"head_dim 0":                    binaryConfig(spec.Documented, 1, 0, 1),
		"head_dim −4":                   binaryConfig(spec.Documented, 1, -4, 1),
		"softmax_scale 0":               binaryConfig(spec.Documented, 1, 4, 0),
		"softmax_scale −1":              binaryConfig(spec.Documented, 1, 4, -1),
		"softmax_scale NaN":             binaryConfig(spec.Documented, 1, 4, math.NaN()),
		"softmax_scale +Inf":            binaryConfig(spec.Documented, 1, 4, math.Inf(1)),
		"softmax_scale −Inf":            binaryConfig(spec.Documented, 1, 4, math.Inf(-1)),
		"softmax_scale 0 as squish6":    binaryConfig(spec.Squish6, 1, 4, 0),
		"softmax_scale +Inf as squish6": binaryConfig(spec.Squish6, 1, 4, math.Inf(1)),
		"head_dim 0 as squish6":         binaryConfig(spec.Squish6, 1, 0, 1),
	},
	badSteps: binaryBadSteps,
	equal: map[string]comparison{
		"forward": func(t *trial, config any, args []any, got, want any) {
			x := binaryCall{config.(spec.BinaryAttnConfig), args[0].(spec.Heads), args[1].(spec.Heads), args[2].(spec.Heads)}
			x.sameOutput(t, got, want)
		},
		"forward_packed": func(t *trial, config any, args []any, got, want any) {
			c := config.(spec.BinaryAttnConfig)
			x := binaryCall{c, binaryUnpacked(c, args[0].([]uint8)), binaryUnpacked(c, args[1].([]uint8)), args[2].(spec.Heads)}
			x.sameOutput(t, got, want)
		},
	},
	rows: []row{
		{"binary-attn/forward", binaryRow, binarySameResult},
		{"binary-attn/forward-best", binaryRow, binarySameResult},
	},
}

func binaryConfig(v spec.Variant, heads, dim int, scale float64) spec.BinaryAttnConfig {
	return spec.BinaryAttnConfig{Variant: v, NHeads: heads, HeadDim: dim, SoftmaxScale: scale}
}

// binaryCall is a config and the arguments of one Forward.
type binaryCall struct {
	config  spec.BinaryAttnConfig
	q, k, v spec.Heads
}

// input is the attention that the signs come to.
func (x binaryCall) input() attentionInput {
	scale := x.config.SoftmaxScale
	if x.config.Variant == spec.Squish6 {
		scale /= float64(x.config.HeadDim)
	}
	return attentionInput{binarySignsOf(x.q), binarySignsOf(x.k), x.v, scale}
}

func (x binaryCall) step() step { return call(binaryAttn, "forward", x.q, x.k, x.v) }

func (x binaryCall) packedStep() step {
	return call(binaryAttn, "forward_packed", binaryPacked(x.q), binaryPacked(x.k), x.v)
}

func (x binaryCall) sameOutput(t *trial, got, want any) {
	t.Helper()
	in := x.input()
	sameAttention(t, *got.(*spec.Heads), *want.(*spec.Heads), in.query, in.keys, in.values, in.scale)
}

// binarySignsOf is ±1 for every element.
func binarySignsOf(x spec.Heads) (out spec.Heads) {
	out.Resize(x.Heads, x.Tokens, x.Dim)
	for h := range x.Heads {
		for i, v := range x.Head(h).Data {
			out.Head(h).Data[i] = 1
			if v < 0 {
				out.Head(h).Data[i] = -1
			}
		}
	}
	return out
}

// binaryPacked are the bytes of signs, bit by bit as the specification says.
func binaryPacked(x spec.Heads) (packed []uint8) {
	for h := range x.Heads {
		for t := range x.Tokens {
			token := make([]uint8, (x.Dim+7)/8)
			for i, v := range x.Head(h).Row(t) {
				if v >= 0 {
					token[i/8] += 1 << (i % 8)
				}
			}
			packed = append(packed, token...)
		}
	}
	return packed
}

// binaryUnpacked is the opposite of binaryPacked.
func binaryUnpacked(c spec.BinaryAttnConfig, packed []uint8) (x spec.Heads) {
	size := (c.HeadDim + 7) / 8
	x.Resize(c.NHeads, len(packed)/size/c.NHeads, c.HeadDim)
	for i := range x.Data {
		token, element := i/c.HeadDim, i%c.HeadDim
		x.Data[i] = -1
		if packed[token*size+element/8]&(1<<(element%8)) != 0 {
			x.Data[i] = 1
		}
	}
	return x
}

// forward returns the output of a new instance.
func (x binaryCall) forward(t *trial) spec.Heads {
	t.Helper()
	return x.forwardOn(t, open(t, t.impl.BinaryAttn, x.config))
}

func (x binaryCall) forwardOn(t *trial, a spec.BinaryAttn) (out spec.Heads) {
	t.Helper()
	t.must(a.Forward(&out, x.q, x.k, x.v))
	t.hasShape(out, x.q.Heads, x.q.Tokens, x.q.Dim)
	return out
}

func (x binaryCall) agrees(t *trial, y binaryCall) {
	t.Helper()
	sameOutputs(t, x.input(), x.forward(t), y.input(), y.forward(t))
}

// binaryAnswer is what the rows come to, with what it was made of.
type binaryAnswer struct {
	made binaryCall
	out  spec.Heads
}

func binarySameResult(t *trial, got, want any) {
	w := want.(*binaryAnswer)
	w.made.sameOutput(t, &got.(*binaryAnswer).out, &w.out)
}

func binaryRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultBinaryAttnConfig(w.Int("head_dim", 64))
	c.Variant = rowVariant(binaryAttn, name)
	c.NHeads = w.Int("n_heads", c.NHeads)
	random := func(seed uint64) spec.Heads { return gaussianHeads(c.NHeads, w.Int("seq", 1), c.HeadDim, seed) }
	x := binaryCall{c, random(0), random(1), random(2)}
	a, err := impl.BinaryAttn(c)
	answer := binaryAnswer{made: x}
	return timing{
		calls:  1,
		call:   func(int) error { return a.Forward(&answer.out, x.q, x.k, x.v) },
		result: func() (any, error) { return &answer, nil },
	}, err
}

// drawBinaryDim draws a dimension, now and then near the end of a byte or a word.
func drawBinaryDim(t *trial) int {
	switch rapid.IntRange(0, 7).Draw(t.T, "head_dim near") {
	case 0:
		return size(t, 62, 67, "head_dim")
	case 1:
		return size(t, 7, 17, "head_dim")
	}
	return size(t, 1, 4, "head_dim")
}

func drawBinary(t *trial, v spec.Variant) binaryCall {
	dim := drawBinaryDim(t)
	scale := rapid.SampledFrom([]float64{1 / math.Sqrt(float64(dim)), 1, 0.1, 3, 0x1p-20, 0x1p10}).Draw(t.T, "softmax_scale")
	return drawBinaryOf(t, binaryConfig(v, size(t, 1, 3, "n_heads"), dim, scale))
}

// drawBinaryOf draws arguments for a config.
func drawBinaryOf(t *trial, c spec.BinaryAttnConfig) binaryCall {
	keys := drawCrossDocSize(t, "keys", 24)
	x := binaryCall{
		config: c,
		q:      heads(t, c.NHeads, drawCrossDocSize(t, "queries", 9), c.HeadDim, anyStyles, "q"),
		k:      heads(t, c.NHeads, keys, c.HeadDim, anyStyles, "k"),
		v:      heads(t, c.NHeads, keys, c.HeadDim, valueStyles, "v"),
	}
	if rapid.IntRange(0, 3).Draw(t.T, "signs at random") == 0 {
		r := source(t, "signs")
		for _, part := range []spec.Heads{x.q, x.k} {
			for i, v := range part.Data {
				part.Data[i] = float32(math.Copysign(float64(v), r.NormFloat64()))
			}
		}
	}
	return x
}

func binaryProgram(t *trial, v spec.Variant) program {
	first := drawBinary(t, v)
	p := program{config: first.config, steps: []step{first.step()}}
	for range size(t, 0, 2, "more calls") {
		x := drawBinaryOf(t, first.config)
		if rapid.IntRange(0, 3).Draw(t.T, "spoiled") == 0 {
			x.v.Head(0).Data[0] = float32(rapid.SampledFrom(append(nonFinite, math.MaxFloat32, -math.MaxFloat32)).Draw(t.T, "spoiler"))
		}
		p.steps = append(p.steps, x.step(), call(binaryAttn, "pack", x.k), call(binaryAttn, "unpack", binaryPacked(x.k)), x.packedStep())
	}
	return p
}

func binaryBadSteps(t *trial, config any) []badStep {
	c := config.(spec.BinaryAttnConfig)
	good := drawBinaryOf(t, c)
	h, d := c.NHeads, c.HeadDim
	shaped := func(heads, tokens, dim int) (x spec.Heads) {
		x.Resize(heads, tokens, dim)
		clear(x.Data)
		return x
	}
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	with := func(s step, i int, to any) step {
		s.args = slices.Clone(s.args)
		s.args[i] = to
		return s
	}
	for i, argument := range []spec.Heads{good.q, good.k, good.v} {
		n := argument.Tokens
		for _, wrong := range []struct {
			what string
			to   spec.Heads
		}{
			{"empty", spec.Heads{}},
			{"of no tokens", shaped(h, 0, d)},
			{"of one head more", shaped(h+1, n, d)},
			{"of one head less", shaped(h-1, n, d)},
			{"of one element more", shaped(h, n, d+1)},
			{"of one element less", shaped(h, n, d-1)},
			{"without data", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n * d}},
			{"whose heads overlap", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n*d - 1, Data: make([]float32, h*n*d)}},
			{"of negative shape", spec.Heads{Heads: h, Tokens: -n, Dim: -d, Stride: n * d, Data: make([]float32, h*n*d)}},
			{"of countless tokens", spec.Heads{Heads: h, Tokens: math.MaxInt, Dim: d, Stride: math.MaxInt, Data: make([]float32, h*d)}},
		} {
			s := good.step()
			bad(s.op.Args[i].Name+" "+wrong.what, with(s, i, wrong.to))
			switch i {
			case 0:
				bad("x "+wrong.what, call(binaryAttn, "pack", wrong.to))
			case 2:
				bad("v "+wrong.what, with(good.packedStep(), 2, wrong.to))
			}
		}
	}
	for i, argument := range []spec.Heads{good.q, good.k} {
		spoiled := cloneAs(argument)
		spoiled.Head(h - 1).Row(spoiled.Tokens - 1)[rapid.IntRange(0, d-1).Draw(t.T, "at")] = float32(math.NaN())
		s := good.step()
		bad("a NaN in "+s.op.Args[i].Name, with(s, i, spoiled))
		bad("a NaN", call(binaryAttn, "pack", spoiled))
	}
	more := shaped(h, good.k.Tokens+1, d)
	bad("keys of one token more", binaryCall{c, good.q, more, good.v}.step())
	bad("values of one token more", binaryCall{c, good.q, good.k, more}.step())
	bad("packed keys of one token more", binaryCall{c, good.q, more, good.v}.packedStep())
	for _, foreign := range binaryForeign(t, c, binaryPacked(good.k)) {
		bad(foreign.what, call(binaryAttn, "unpack", foreign.packed))
		bad(foreign.what+" in packed_q", with(good.packedStep(), 0, foreign.packed))
		bad(foreign.what+" in packed_k", with(good.packedStep(), 1, foreign.packed))
	}
	return list
}

// A binaryForeignBytes is a sequence of bytes that packing does not write.
type binaryForeignBytes struct {
	what   string
	packed []uint8
}

// binaryForeign spoils packed signs.
func binaryForeign(t *trial, c spec.BinaryAttnConfig, packed []uint8) []binaryForeignBytes {
	list := []binaryForeignBytes{{"no bytes", nil}}
	size := (c.HeadDim + 7) / 8
	if c.NHeads*size > 1 {
		list = append(list, binaryForeignBytes{"a byte less", packed[1:]}, binaryForeignBytes{"a byte more", append(slices.Clone(packed), 0)})
	}
	for bit := (c.HeadDim-1)%8 + 1; bit < 8; bit++ {
		spoiled := slices.Clone(packed)
		token := rapid.IntRange(1, len(packed)/size).Draw(t.T, "token")
		spoiled[token*size-1] |= 1 << bit
		list = append(list, binaryForeignBytes{fmt.Sprintf("bit %d of a last byte", bit), spoiled})
	}
	return list
}

func binaryAttention(t *trial) {
	x := drawBinary(t, spec.Documented)
	var want []float64
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			want = a.outputs()
		}
		t.within(where, got, want[i], a.budget(t.u, i))
	})
}

// binaryAttentionSquish6: 1e-9 more in the sum is 1e-9·w in the sum of the weights, w
// being the greatest, whose exponential is 1.
func binaryAttentionSquish6(t *trial) {
	x := drawBinary(t, spec.Squish6)
	var want []float64
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			want = a.outputs()
			greatest := 0.0
			for _, w := range bigSoftmax(a.logits()) {
				weight, _ := w.Float64()
				greatest = max(greatest, weight)
			}
			for j := range want {
				want[j] /= 1 + 1e-9*greatest
			}
		}
		t.within(where, got, want[i], a.budget(t.u, i))
	})
}

// sameAnswer asserts that two calls have the same output bit for bit.
func (x binaryCall) sameAnswer(t *trial, y binaryCall) {
	t.Helper()
	t.sameBits("output ", y.forward(t), x.forward(t))
}

func binarySigns(t *trial) {
	x := drawBinary(t, spec.Documented)
	r := source(t, "magnitudes")
	magnitudes := []float64{math.Inf(1), math.MaxFloat32, 0x1p-149, 1, 0.5}
	y := binaryCall{x.config, cloneAs(x.q), cloneAs(x.k), x.v}
	for _, part := range []spec.Heads{y.q, y.k} {
		for i, v := range part.Data {
			magnitude := magnitudes[r.IntN(len(magnitudes))]
			if v < 0 {
				magnitude = -magnitude
			}
			part.Data[i] = float32(magnitude)
		}
	}
	x.sameAnswer(t, y)
}

func binaryZeros(t *trial) {
	x := drawBinary(t, spec.Documented)
	r := source(t, "zeros")
	y := binaryCall{x.config, cloneAs(x.q), cloneAs(x.k), x.v}
	for n, part := range []spec.Heads{x.q, x.k} {
		for i := range part.Data {
			if r.IntN(3) == 0 {
				part.Data[i] = float32(math.Copysign(0, r.NormFloat64()))
				[]spec.Heads{y.q, y.k}[n].Data[i] = 1
			}
		}
	}
	x.sameAnswer(t, y)
}

func binaryFlip(t *trial) {
	x := drawBinary(t, spec.Documented)
	x.q, x.k = binarySignsOf(x.q), binarySignsOf(x.k) // no zeros, whose sign does not turn
	y := binaryCall{x.config, cloneAs(x.q), cloneAs(x.k), x.v}
	r := source(t, "elements")
	for h := range x.config.NHeads {
		for i := range x.config.HeadDim {
			if r.IntN(2) == 0 {
				continue
			}
			for _, part := range []spec.Matrix{y.q.Head(h), y.k.Head(h)} {
				for token := range part.Rows {
					part.Row(token)[i] *= -1
				}
			}
		}
	}
	x.sameAnswer(t, y)
}

func binaryEqualKeys(t *trial) {
	x := drawBinary(t, spec.Documented)
	for h := range x.k.Heads {
		first := binarySignsOf(x.k).Head(h).Row(0)
		for j := range x.k.Tokens {
			for i, s := range first {
				x.k.Head(h).Row(j)[i] = s * float32(j+1)
			}
		}
	}
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		mean := 0.0
		for j := range a.values.Rows {
			mean += float64(a.values.Row(j)[i]) / float64(a.values.Rows)
		}
		t.within(where, got, mean, a.sumBudget(t.u, i))
	})
}

func binaryConvex(t *trial) {
	x := drawBinary(t, spec.Documented)
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		least, greatest := math.Inf(1), math.Inf(-1)
		for j := range a.values.Rows {
			least = min(least, float64(a.values.Row(j)[i]))
			greatest = max(greatest, float64(a.values.Row(j)[i]))
		}
		t.within(where+" and the nearest number between the values", got, max(least, min(greatest, got)), a.sumBudget(t.u, i))
	})
}

func binaryPermutation(t *trial) {
	x := drawBinary(t, spec.Documented)
	order := source(t, "order").Perm(x.k.Tokens)
	x.agrees(t, binaryCall{x.config, x.q, selected(x.k, order), selected(x.v, order)})
}

func binaryRows(t *trial) {
	x := drawBinary(t, spec.Documented)
	q := rapid.IntRange(0, x.q.Tokens-1).Draw(t.T, "query")
	alone := binaryCall{x.config, selected(x.q, []int{q}), x.k, x.v}
	sameOutputs(t, alone.input(), selected(x.forward(t), []int{q}), alone.input(), alone.forward(t))
}

// binaryMatch gives one key the signs of the queries, and makes every other one differ
// from it.
func binaryMatch(t *trial) {
	x := drawBinary(t, spec.Documented)
	x.config.SoftmaxScale = rapid.SampledFrom([]float64{101, 140}).Draw(t.T, "softmax_scale")
	x.q, x.k = binarySignsOf(x.q), binarySignsOf(x.k)
	winner := rapid.IntRange(0, x.k.Tokens-1).Draw(t.T, "winner")
	for h := range x.config.NHeads {
		match := x.k.Head(h).Row(winner)
		for q := range x.q.Tokens {
			copy(x.q.Head(h).Row(q), match)
		}
		for j := range x.k.Tokens {
			if key := x.k.Head(h).Row(j); j != winner && slices.Equal(key, match) {
				key[0] *= -1
			}
		}
	}
	var stands bool
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			stands = a.standsOut(t.u, winner)
		}
		if stands {
			t.within(where, got, float64(a.values.Row(winner)[i]), a.sumBudget(t.u, i))
		}
	})
}

func binaryNonFinite(t *trial) {
	x := drawBinary(t, spec.Documented)
	a := open(t, t.impl.BinaryAttn, x.config)
	clean := x.forwardOn(t, a)
	spoiled := binaryCall{x.config, x.q, x.k, cloneAs(x.v)}
	head := rapid.IntRange(0, x.v.Heads-1).Draw(t.T, "head")
	token := rapid.IntRange(0, x.v.Tokens-1).Draw(t.T, "token")
	spoiled.v.Head(head).Row(token)[rapid.IntRange(0, x.v.Dim-1).Draw(t.T, "element")] = float32(rapid.SampledFrom(nonFinite).Draw(t.T, "spoiler"))
	out := spoiled.forwardOn(t, a)
	later := x.forwardOn(t, a)
	for h := range clean.Heads {
		if h != head {
			t.sameBits(fmt.Sprintf("head %d, which is not reached, ", h), out.Head(h), clean.Head(h))
		}
		t.sameBits(fmt.Sprintf("head %d of the next call", h), later.Head(h), clean.Head(h))
	}
}

func binaryPack(t *trial) {
	x := drawBinary(t, spec.Documented)
	var got []uint8
	t.must(open(t, t.impl.BinaryAttn, x.config).(spec.BinaryAttnPacked).Pack(&got, x.k))
	t.sameBits("packed", got, binaryPacked(x.k))
}

func binaryUnpack(t *trial) {
	x := drawBinary(t, spec.Documented)
	a := open(t, t.impl.BinaryAttn, x.config).(spec.BinaryAttnPacked)
	var packed, again []uint8
	var back spec.Heads
	t.must(a.Pack(&packed, x.k))
	t.must(a.Unpack(&back, packed))
	t.hasShape(back, x.k.Heads, x.k.Tokens, x.k.Dim)
	want := binarySignsOf(x.k)
	for h := range want.Heads {
		t.equal(fmt.Sprintf("head %d", h), back.Head(h), want.Head(h))
	}
	t.must(a.Pack(&again, back))
	t.sameBits("packed again", again, packed)
}

func binaryPackedAttention(t *trial) {
	x := drawBinary(t, spec.Documented)
	a := open(t, t.impl.BinaryAttn, x.config)
	packer := a.(spec.BinaryAttnPacked)
	var packedK []uint8
	t.must(packer.Pack(&packedK, x.k))
	for range size(t, 1, 2, "attended") {
		var packedQ []uint8
		t.must(packer.Pack(&packedQ, x.q))
		var out spec.Heads
		t.must(packer.ForwardPacked(&out, packedQ, packedK, x.v))
		t.hasShape(out, x.q.Heads, x.q.Tokens, x.q.Dim)
		sameOutputs(t, x.input(), out, x.input(), x.forwardOn(t, a))
		x.q = heads(t, x.q.Heads, size(t, 1, 4, "queries"), x.q.Dim, anyStyles, "q")
	}
}

func binaryPackForeign(t *trial) {
	x := drawBinary(t, spec.Documented)
	a := open(t, t.impl.BinaryAttn, x.config).(spec.BinaryAttnPacked)
	packedQ, packedK := binaryPacked(x.q), binaryPacked(x.k)
	var signs, out spec.Heads
	for _, foreign := range binaryForeign(t, x.config, packedK) {
		t.refused("unpacking "+foreign.what, a.Unpack(&signs, foreign.packed))
		t.refused("attending to "+foreign.what, a.ForwardPacked(&out, packedQ, foreign.packed, x.v))
	}
	t.must(a.Unpack(&signs, packedK))
	t.must(a.ForwardPacked(&out, packedQ, packedK, x.v))
}

func binaryStats(t *trial) {
	first := drawBinary(t, spec.Documented)
	a := open(t, t.impl.BinaryAttn, first.config)
	packs := t.impl.OffersOperation(binaryAttn, "forward_packed")
	var want spec.BinaryAttnStats
	for range size(t, 0, 4, "calls") {
		x := drawBinaryOf(t, first.config)
		if packs && rapid.Bool().Draw(t.T, "packed") {
			var out spec.Heads
			t.must(a.(spec.BinaryAttnPacked).ForwardPacked(&out, binaryPacked(x.q), binaryPacked(x.k), x.v))
		} else {
			x.forwardOn(t, a)
		}
		want.Calls++
		want.Tokens += x.q.Tokens
	}
	t.equal("stats", a.Stats(), want)
}
