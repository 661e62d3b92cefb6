package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// One text request at a time, within 50 ms. The second is deferred until the first
// has completed, 30 ms too late.
func ExampleNewModalityRouter() {
	router, err := ref.NewModalityRouter(spec.ModalityRouterConfig{Policies: []spec.ModalityPolicy{
		{Modality: spec.Text, TargetLatencyMS: 50, MaxConcurrent: 1, Priority: 1},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var first, second, again bool
	router.Route(&first, 1, spec.Text)
	router.Route(&second, 2, spec.Text)
	router.Complete(1, spec.Text, 80)
	router.Route(&again, 2, spec.Text)
	var late float64
	router.SloViolationRate(&late, spec.Text)
	fmt.Println(first, second, again, late, router.ActiveCounts())
	// Output: true false true 1 map[text:1]
}
