package parallel

import (
	"runtime"
	"sync/atomic"
	"testing"
)

type counting struct {
	seen  []atomic.Int32
	parts atomic.Int32
}

func (c *counting) Part(number, lo, hi int) {
	c.parts.Add(1)
	for i := lo; i < hi; i++ {
		c.seen[i].Add(1)
	}
}

func TestEveryItemIsDoneOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(5))
	for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7, 1000} {
		for _, ns := range []float64{0, 1, piece, 1e30} {
			c := counting{seen: make([]atomic.Int32, n)}
			Run(&c, n, ns)
			for i := range c.seen {
				if got := c.seen[i].Load(); got != 1 {
					t.Errorf("%d items of %g ns: item %d was done %d times", n, ns, i, got)
				}
			}
			if got := int(c.parts.Load()); got != Parts(n, ns) {
				t.Errorf("%d items of %g ns: %d parts, want %d", n, ns, got, Parts(n, ns))
			}
		}
	}
}

func TestLargeWorkIsCutAndSmallIsNot(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(5))
	for _, c := range []struct {
		n    int
		ns   float64
		want int
	}{{1000, 1, 1}, {2, piece, 2}, {1000, piece, 5}, {0, piece, 1}, {3, 1e300, 3}} {
		if got := Parts(c.n, c.ns); got != c.want {
			t.Errorf("Parts(%d, %g) = %d, want %d", c.n, c.ns, got, c.want)
		}
	}
}

func TestSmallWorkAllocatesNothing(t *testing.T) {
	c := counting{seen: make([]atomic.Int32, 8)}
	if allocs := testing.AllocsPerRun(10, func() { Run(&c, 8, 1) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
