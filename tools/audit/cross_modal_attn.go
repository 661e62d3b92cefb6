package audit

import (
	"context"
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// A counter does arithmetic in float64 and counts it.
type counter struct{ mulAdds, exps int64 }

func (c *counter) mulAdd(sum, x, y float64) float64 {
	c.mulAdds++
	return sum + float64(x*y)
}

func (c *counter) exp(x float64) float64 {
	c.exps++
	return math.Exp(x)
}

// attention is softmax(q·kᵀ·scale)·v, head by head. Scaling, the largest logit, the
// sum of weights and the division by it are none of what is counted.
func (c *counter) attention(q, k, v spec.Heads, scale float64) (out []float64) {
	weights := make([]float64, k.Tokens)
	for h := range q.Heads {
		queries, keys, values := q.Head(h), k.Head(h), v.Head(h)
		for t := range q.Tokens {
			largest := math.Inf(-1)
			for i := range weights {
				weights[i] = 0
				for d, x := range queries.Row(t) {
					weights[i] = c.mulAdd(weights[i], float64(x), float64(keys.Row(i)[d]))
				}
				weights[i] *= scale
				largest = max(largest, weights[i])
			}
			sum := 0.0
			for i, w := range weights {
				weights[i] = c.exp(w - largest)
				sum += weights[i]
			}
			row := make([]float64, v.Dim)
			for i, w := range weights {
				for d, x := range values.Row(i) {
					row[d] = c.mulAdd(row[d], w, float64(x))
				}
			}
			for _, x := range row {
				out = append(out, x/sum)
			}
		}
	}
	return out
}

// attentionOperations counts those of an attention as it is computed, sees that it
// computes what the module does, and holds the counts against the module's and
// against the formula. In a build with the tag counted the kernels of package fast
// count theirs too.
func attentionOperations(ctx context.Context, a *Audit, f *Finding) error {
	config := spec.DefaultCrossModalAttnConfig(16)
	config.NTextHeads, config.NVisionHeads = 2, 2
	heads, dim := int64(config.NTextHeads), int64(config.HeadDim)
	attn, err := a.Implementation.CrossModalAttn(config)
	if err != nil {
		return err
	}
	costs, says := attn.(spec.CrossModalCosts)
	f.Curve = &Curve{Columns: []string{"seq", "modality_len", "multiply-adds", "exponentials", "multiply-adds ÷ seq·modality_len", "exponentials ÷ seq·modality_len"}}
	f.Verdict = Supported
	var first counter
	kernels, rescaled := false, int64(0) // exponentials of the kernels beyond the formula
	for _, seq := range []int{1, 7, 32, 77} {
		for _, length := range []int{1, 9, 49, 196} {
			if err := ctx.Err(); err != nil {
				return err
			}
			q, k, v := drawnHeads(config, seq, a.Seed), drawnHeads(config, length, a.Seed+1), drawnHeads(config, length, a.Seed+2)
			var counted counter
			want := counted.attention(q, k, v, config.SoftmaxScale)
			var out spec.Heads
			inKernels, _, err := fast.CountOperations(func() error { return attn.Forward(&out, q, k, v) })
			if err != nil {
				return err
			}
			for i, x := range want {
				if got := float64(out.Data[i]); !(math.Abs(got-x) < 1e-4) { // of Gaussian values
					return fmt.Errorf("%d × %d tokens, element %d: the module computes %v, the attention that is counted %v: the audit cannot be trusted", seq, length, i, got, x)
				}
			}
			pairs := int64(seq) * int64(length)
			if counted.mulAdds != 2*heads*dim*pairs || counted.exps != heads*pairs {
				f.Verdict = Refuted
			}
			if says {
				var op spec.AttentionOperations
				if err := costs.Flops(&op, seq, length); err != nil {
					return err
				}
				if op.MulAdds != counted.mulAdds || op.Exps != counted.exps {
					return fmt.Errorf("%d × %d tokens: flops says %+v, counted are %+v: the audit cannot be trusted", seq, length, op, counted)
				}
			}
			if first.exps == 0 {
				first = counted // of one token each
			}
			if counted.mulAdds != first.mulAdds*pairs || counted.exps != first.exps*pairs {
				f.Verdict = Refuted
			}
			row := []float64{float64(seq), float64(length), float64(counted.mulAdds), float64(counted.exps),
				float64(counted.mulAdds) / float64(pairs), float64(counted.exps) / float64(pairs)}
			if inKernels.MulAdds > 0 { // none where the build or the implementation has no kernels that count
				kernels = true
				rescaled += inKernels.Exps - counted.exps
				if inKernels.MulAdds != counted.mulAdds {
					f.Verdict = Refuted
				}
				row = append(row, float64(inKernels.MulAdds), float64(inKernels.Exps))
			}
			f.Curve.add(row...)
		}
	}
	f.counted(float64(first.mulAdds), "multiply-adds for each pair of a text and a vision token")
	agrees := "the module's flops operation says the same"
	if !says {
		agrees = "the module has no flops operation"
	}
	f.Note = fmt.Sprintf("counted one by one in an attention that computes what the module does: %d heads of %d elements take 2·heads·dim = %d multiply-adds and heads = %d exponentials a pair, up to %d pairs, and %s. Scaling, maxima, sums and divisions are not counted",
		heads, dim, 2*heads*dim, heads, 77*196, agrees)
	if kernels {
		f.Curve.Columns = append(f.Curve.Columns, "multiply-adds in the kernels", "exponentials in the kernels")
		f.Note += fmt.Sprintf(". The kernels' own loops were counted as well: the multiply-adds are the same, and the exponentials are %d more over all rows, one a query and block of keys after the first, by which the softmax weighs what came before", rescaled)
		f.Command = "go run -tags counted ./tools/" + f.Command
	} else {
		f.Note += ". The kernels' own loops are counted by go run -tags counted ./tools/" + f.Command
	}
	return nil
}

// drawnHeads are Gaussian.
func drawnHeads(c spec.CrossModalAttnConfig, tokens int, seed uint64) spec.Heads {
	var x spec.Heads
	x.Resize(c.NTextHeads, tokens, c.HeadDim)
	copy(x.Data, gaussian(1, len(x.Data), seed).Data)
	return x
}
