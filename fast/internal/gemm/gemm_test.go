package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

const u = 0x1p-24

func eachTier(t *testing.T, test func(t *testing.T)) {
	for _, tier := range kern.Tiers() {
		t.Run(string(tier), func(t *testing.T) {
			defer kern.Force(tier)()
			test(t)
		})
	}
}

// draw returns a matrix inside a larger one, transposed or not.
func draw(r *rand.Rand, rows, cols int, transposed bool) View {
	if transposed {
		return draw(r, cols, rows, false).T()
	}
	v := View{Rows: rows, Cols: cols, Down: cols + r.IntN(4), Right: 1}
	v.Data = make([]float32, rows*v.Down)
	for i := range v.Data {
		v.Data[i] = float32(r.NormFloat64())
	}
	return v
}

func at(v View, i, j int) *float32 { return &v.Data[i*v.Down+j*v.Right] }

// check compares dst = from + a·b with sums in float64: all elements, and some 4000 of
// a large one, in every row and column.
func check(t *testing.T, dst, from, a, b View) {
	t.Helper()
	step := dst.Rows*dst.Cols/4000 + 1
	for i := range dst.Rows {
		for j := i % step; j < dst.Cols; j += step {
			sum, magnitude := 0.0, 0.0
			if from.Data != nil {
				sum = float64(*at(from, i, j))
				magnitude = math.Abs(sum)
			}
			for p := range a.Cols {
				v := float64(*at(a, i, p)) * float64(*at(b, p, j))
				sum, magnitude = sum+v, magnitude+math.Abs(v)
			}
			if got := float64(*at(dst, i, j)); !(math.Abs(got-sum) <= u*float64(a.Cols+2)*magnitude) {
				t.Fatalf("%d × %d × %d: element (%d, %d): got %v, want %v", dst.Rows, dst.Cols, a.Cols, i, j, got, sum)
			}
		}
	}
}

// drawAndCheck draws a product and checks it.
func drawAndCheck(t *testing.T, x *Multiplier, r *rand.Rand, m, n, k int, transposed bool) {
	t.Helper()
	a, b := draw(r, m, k, r.IntN(2) == 0), draw(r, k, n, transposed)
	dst, from := draw(r, m, n, false), View{}
	if r.IntN(2) == 0 {
		from = draw(r, m, n, false)
	}
	x.Multiply(dst, from, a, b)
	check(t, dst, from, a, b)
}

func TestEveryShape(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		var x Multiplier
		r := rand.New(rand.NewPCG(1, 2))
		for m := range 41 {
			for n := range 41 {
				drawAndCheck(t, &x, r, m, n, (m*7+n*11)%41, n%2 == 0)
			}
		}
	})
}

// The last two are enough for two cores, by columns and by rows.
func TestShapesBeyondAPanel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	eachTier(t, func(t *testing.T) {
		var x Multiplier
		r := rand.New(rand.NewPCG(3, 4))
		for _, s := range [][3]int{{3, 200, 513}, {200, 3, 600}, {70, 130, 257}, {129, 64, 256}, {160, 700, 100}, {700, 160, 100}} {
			for _, transposed := range []bool{false, true} {
				drawAndCheck(t, &x, r, s[0], s[1], s[2], transposed)
			}
		}
	})
}

// A row of a that is not finite reaches its row of dst, a column of b its column, and
// nothing else changes by a bit; and neither does the number of cores.
func TestWhatIsNotFiniteStaysInItsRowAndColumn(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		var x Multiplier
		r := rand.New(rand.NewPCG(5, 6))
		for _, s := range [][3]int{{7, 5, 3}, {30, 70, 300}, {100, 130, 280}} {
			m, n, k := s[0], s[1], s[2]
			for _, transposed := range []bool{false, true} {
				a, b := draw(r, m, k, false), draw(r, k, n, transposed)
				want, got := draw(r, m, n, false), draw(r, m, n, false)
				x.Multiply(want, View{}, a, b)
				i, j := r.IntN(m), r.IntN(n)
				*at(a, i, r.IntN(k)) = float32(math.NaN())
				*at(b, r.IntN(k), j) = float32(math.Inf(1))
				procs := runtime.GOMAXPROCS(1 + r.IntN(3))
				x.Multiply(got, View{}, a, b)
				runtime.GOMAXPROCS(procs)
				for p := range m {
					for q := range n {
						g, w := *at(got, p, q), *at(want, p, q)
						if reached := p == i || q == j; reached != (g-g != 0) || (!reached && g != w) {
							t.Fatalf("%v: spoiled (%d, %d): got %v at (%d, %d), want %v", s, i, j, g, p, q, w)
						}
					}
				}
			}
		}
	})
}

func TestMultiplyAddsInPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var x Multiplier
	a, b, dst := draw(r, 30, 600, false), draw(r, 600, 90, true), draw(r, 30, 90, false)
	before := dst
	before.Data = slices.Clone(dst.Data)
	x.Multiply(dst, dst, a, b)
	check(t, dst, before, a, b)
}

func TestSmallProductsAllocateNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	var x Multiplier
	a, b, dst := draw(r, 30, 40, false), draw(r, 40, 50, true), draw(r, 30, 50, false)
	if n := testing.AllocsPerRun(10, func() { x.Multiply(dst, View{}, a, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The figures are the best of many short samples, on one core.
func BenchmarkMultiply(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{64, 64, 64}, {32, 64, 64}, {16, 32, 64}, {256, 256, 16}, {256, 256, 256}, {512, 512, 8}, {1024, 1024, 1024}, {1, 2048, 2048}, {6, 2048, 2048}} {
		for _, transposed := range []bool{false, true} {
			for _, tier := range kern.Tiers()[:max(1, len(kern.Tiers())-1)] {
				b.Run(fmt.Sprintf("%d×%d×%d/%v/%s", s[0], s[1], s[2], transposed, tier), func(b *testing.B) {
					defer kern.Force(tier)()
					var x Multiplier
					left, right, dst := draw(r, s[0], s[2], false), draw(r, s[2], s[1], transposed), draw(r, s[0], s[1], false)
					best := time.Duration(math.MaxInt64)
					for b.Loop() {
						start := time.Now()
						x.Multiply(dst, View{}, left, right)
						best = min(best, time.Since(start))
					}
					b.ReportMetric(2*float64(s[0]*s[1]*s[2])/float64(best.Nanoseconds()), "GFLOP/s")
					b.ReportMetric(float64(best.Nanoseconds())/1e3, "best-µs")
				})
			}
		}
	}
}
