package audit

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/squishspec/squishspec/llama"
)

// parallelSessions asks n questions of a variation, on all cores, a session each. An
// error is no answer from the rest.
func parallelSessions(ctx context.Context, v *Variation, n int, ask func(s *llama.Session[float32], i int) (bool, error)) ([]bool, error) {
	right, failed := make([]bool, n), make([]error, n)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		session, err := llama.NewSession[float32](v.Model)
		if err != nil {
			return nil, err
		}
		if v.Hooks != nil {
			session.Hooks = v.Hooks()
		}
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if right[i], failed[i] = ask(session, i); failed[i] != nil {
					stop()
				}
			}
		})
	}
	group.Wait()
	for i, err := range failed {
		if err != nil {
			return nil, fmt.Errorf("question %d: %w", i+1, err)
		}
	}
	return right, ctx.Err()
}
