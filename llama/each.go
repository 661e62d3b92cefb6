package llama

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Each works on n things that do not depend on each other, on all cores: a goroutine
// each has a session of its own, with the hooks of one call, or none where hooks is
// nil. Work finds the session as the thing before left it. The error is that of the
// first thing in order that failed, after which no further one is begun.
func Each[F Float](ctx context.Context, m *Model, hooks func() Hooks[F], n int, work func(s *Session[F], i int) error) error {
	failed := make([]error, n)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var next atomic.Int64
	var group sync.WaitGroup
	defer group.Wait()
	for range min(runtime.GOMAXPROCS(0), n) {
		session, err := NewSession[F](m)
		if err != nil {
			stop()
			return err
		}
		if hooks != nil {
			session.Hooks = hooks()
		}
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if failed[i] = work(session, i); failed[i] != nil {
					stop()
				}
			}
		})
	}
	group.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
