package kern

import "sync/atomic"

// In a build with the tag counted, the plain bodies that attention is made of, Gemm's
// and Shares', count what they do where they do it. No other body does, and no other
// build: counting is a constant, so that nothing of it is left there.
var counts struct{ mulAdds, exps atomic.Int64 }

// Counted returns how many multiply-adds and exponentials were counted since the
// program started, and whether this build counts.
func Counted() (mulAdds, exps int64, counted bool) {
	return counts.mulAdds.Load(), counts.exps.Load(), counting
}
