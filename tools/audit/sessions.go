package audit

import (
	"context"
	"fmt"

	"github.com/squishspec/squishspec/llama"
)

// parallelSessions asks n questions of a variation, on all cores. An error is no answer
// from the rest.
func parallelSessions(ctx context.Context, v *Variation, n int, ask func(s *llama.Session[float32], i int) (bool, error)) ([]bool, error) {
	right := make([]bool, n)
	err := llama.Each(ctx, v.Model, v.Hooks, n, func(s *llama.Session[float32], i int) (err error) {
		if right[i], err = ask(s, i); err != nil {
			err = fmt.Errorf("question %d: %w", i+1, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return right, nil
}
