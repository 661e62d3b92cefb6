package audit

import (
	"context"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

func TestAttentionOperationsAreCounted(t *testing.T) {
	f := &Finding{}
	if err := attentionOperations(context.Background(), traceAudit(t, fast.Implementation()), f); err != nil {
		t.Fatal(err)
	}
	if _, counted, _ := fast.CountOperations(func() error { return nil }); counted != (len(f.Curve.Columns) == 8) || counted != strings.HasPrefix(f.Command, "go run -tags counted") {
		t.Errorf("counted in the kernels: %v, but %q and %q", counted, f.Curve.Columns, f.Command)
	}
	if f.Verdict != Supported || *f.Figure != 64 || !f.Exact || len(f.Curve.Rows) != 16 {
		t.Errorf("%+v", f)
	}
	for _, row := range f.Curve.Rows {
		if row[2] != 64*row[0]*row[1] || row[3] != 2*row[0]*row[1] {
			t.Errorf("%v", row)
		}
		if len(row) > 6 && row[6] != row[2] { // in a build with the tag counted
			t.Errorf("%v", row)
		}
	}
}

// offAttention says one exponential too many, or computes with another scale.
type offAttention struct {
	spec.CrossModalAttn
	costs spec.CrossModalCosts
	more  int64
}

func (o offAttention) Flops(dst *spec.AttentionOperations, text, vision int) error {
	err := o.costs.Flops(dst, text, vision)
	dst.Exps += o.more
	return err
}

// Counts are worth nothing where the module says others, or computes something else.
func TestTheCountedAttentionIsTheModules(t *testing.T) {
	honest := fast.Implementation().CrossModalAttn
	for _, c := range []struct {
		more  int64
		scale float64
		want  string
	}{{1, 1, "flops says"}, {0, 2, "the module computes"}} {
		impl := fast.Implementation()
		impl.CrossModalAttn = func(config spec.CrossModalAttnConfig) (spec.CrossModalAttn, error) {
			config.SoftmaxScale *= c.scale
			attn, err := honest(config)
			return offAttention{attn, attn.(spec.CrossModalCosts), c.more}, err
		}
		err := attentionOperations(context.Background(), traceAudit(t, impl), &Finding{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "cannot be trusted") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
