package conformance

import (
	"os"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// TestFastAllocatesNothingInTheSteadyState makes the calls of every row, again and
// again: an instance keeps its scratch memory, and a destination its own.
//
// Where few tries are asked for, as under the race detector, whose rows are slow, it
// has nothing to say.
func TestFastAllocatesNothingInTheSteadyState(t *testing.T) {
	if os.Getenv("SQUISHSPEC_CHECKS") != "" {
		t.Skip("few tries are asked for")
	}
	impl := fast.Implementation()
	for _, m := range modules() {
		for _, r := range m.rows {
			for _, name := range spec.WorkloadNames {
				t.Run(r.id+"/"+string(name), func(t *testing.T) {
					page, _ := spec.RowByID(r.id)
					x, err := r.prepare(impl, name, page.Workload(name))
					if err != nil {
						t.Fatal(err)
					}
					calls := func() {
						if x.refill != nil && err == nil {
							err = x.refill()
						}
						for i := 0; i < x.calls && err == nil; i++ {
							err = x.call(i)
						}
					}
					n := 1.0
					for tries := 0; n != 0 && tries < 16; tries++ { // stores and scratch memory grow
						n = testing.AllocsPerRun(3, calls)
					}
					if n != 0 || err != nil {
						t.Errorf("%v allocations in %d calls, %v", n, x.calls, err)
					}
				})
			}
		}
	}
}
