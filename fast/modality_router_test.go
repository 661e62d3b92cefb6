package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestModalityRouterAllocatesNothingInTheSteadyState(t *testing.T) {
	r, err := NewModalityRouter(spec.DefaultModalityRouterConfig())
	if err != nil {
		t.Fatal(err)
	}
	var accepted bool
	var rate float64
	if n := testing.AllocsPerRun(20, func() {
		for id := range int64(6) { // two of them deferred
			r.Route(&accepted, id, spec.Text)
		}
		for id := range int64(6) {
			r.Complete(id, spec.Text, 120)
		}
		r.SloViolationRate(&rate, spec.Text)
		r.Register(spec.DefaultModalityPolicy(spec.Text))
		r.Stats()
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}
