// Package parallel spreads large work over the cores.
//
// The idea: a goroutine costs some microseconds, so that work is cut only where
// each piece has many times that, and small calls run where they are, without an
// allocation. Nothing outlives a call.
package parallel

import (
	"runtime"
	"sync"
)

// A Task is work on items that do not depend on each other. An instance that has
// the method on a pointer to itself allocates nothing to become one.
type Task interface {
	// Part does the items from lo to hi. Parts run at the same time: scratch
	// memory belongs to one of them, numbered below Parts of the same call.
	Part(number, lo, hi int)
}

// piece is the least work that is worth a goroutine, in nanoseconds.
const piece = 100_000

// Parts returns into how many parts n items are cut that take about ns nanoseconds
// each: at most GOMAXPROCS, and 1 where there is little to do.
func Parts(n int, ns float64) int {
	return max(1, min(runtime.GOMAXPROCS(0), n, int(min(float64(n)*ns/piece, 1<<20))))
}

// Run does n items of a task that take about ns nanoseconds each, in Parts(n, ns)
// parts of nearly the same size, and returns when all are done. The number of
// parts must not decide a result.
func Run(task Task, n int, ns float64) {
	parts := Parts(n, ns)
	if parts == 1 {
		task.Part(0, 0, n)
		return
	}
	var rest sync.WaitGroup
	for p := 1; p < parts; p++ {
		rest.Go(func() { task.Part(p, n*p/parts, n*(p+1)/parts) })
	}
	task.Part(0, 0, n/parts)
	rest.Wait()
}
