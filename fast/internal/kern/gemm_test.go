package kern

import (
	"fmt"
	"math"
	"testing"
)

// A product is the arguments of Gemm. Rows are further apart than they are long,
// and what lies between them is garbage, or in c must stay.
type product struct {
	m, n, k               int
	ldc, ldf, rs, cs, ldb int
	c, from, a, b         []float32
}

// newProduct takes a product of numbers of a style, a transposed or not, from given
// or not.
func newProduct(m *memory, rows, cols, k int, draw style) *product {
	p := &product{m: rows, n: cols, k: k}
	apart := func(cols int) int { return cols + m.r.IntN(3) }
	p.ldc, p.ldf, p.ldb = apart(cols), apart(cols), apart(cols)
	p.rs, p.cs = apart(k), 1
	if m.r.IntN(2) == 0 {
		p.rs, p.cs = 1, apart(rows)
	}
	size := func(rows, cols, ld int) int {
		if rows == 0 || cols == 0 {
			return 0
		}
		return (rows-1)*ld + cols
	}
	p.c = floats(m, size(rows, cols, p.ldc), ordinary)
	if m.r.IntN(2) == 0 {
		p.from = floats(m, size(rows, cols, p.ldf), draw)
	}
	if rows > 0 && k > 0 {
		p.a = floats(m, (rows-1)*p.rs+(k-1)*p.cs+1, draw)
	}
	p.b = floats(m, size(k, cols, p.ldb), draw)
	return p
}

func (p *product) run() {
	Gemm(p.c, p.ldc, p.from, p.ldf, p.a, p.rs, p.cs, p.b, p.ldb, p.m, p.n, p.k)
}

// terms returns what element (i, j) is the sum of, in buffer.
func (p *product) terms(i, j int, buffer []float64) []float64 {
	out := buffer[:0]
	for q := range p.k {
		out = append(out, float64(p.a[i*p.rs+q*p.cs])*float64(p.b[q*p.ldb+j]))
	}
	if p.from != nil {
		out = append(out, float64(p.from[i*p.ldf+j]))
	}
	return out
}

// eachShape runs a test, in every tier, with every shape up to a few tiles, thinned
// out, and larger ones.
func eachShape(t *testing.T, test func(t *testing.T, m, n, k int, mem *memory)) {
	eachTier(t, func(t *testing.T) {
		mem := newMemory()
		run := func(m, n, k int) {
			test(t, m, n, k, mem)
			mem.release(t)
			if t.Failed() {
				t.Fatalf("%d × %d × %d", m, n, k)
			}
		}
		for m := range 14 {
			for n := range 81 {
				if edge := (n+2)%16 < 5; edge || n%5 == m%5 {
					run(m, n, (m*5+n*7)%11)
				}
			}
		}
		for range 10 {
			run(mem.r.IntN(30), mem.r.IntN(150), mem.r.IntN(150))
		}
	})
}

func TestGemmIsTheSumOfProducts(t *testing.T) {
	var terms []float64
	eachShape(t, func(t *testing.T, m, n, k int, mem *memory) {
		for _, draw := range []style{ordinary, anything} {
			p := newProduct(mem, m, n, k, draw)
			before := append([]float32(nil), p.c...)
			p.run()
			for at, got := range p.c {
				i, j := at/p.ldc, at%p.ldc
				if j >= n {
					sameBits(t, "between rows", p.c[at:at+1], before[at:at+1])
				} else {
					terms = p.terms(i, j, terms)
					nearSum(t, "element", float64(got), terms)
				}
			}
		}
	})
}

// An element is the same alone as among others, so that no part of a product
// depends on how it is cut.
func TestGemmOfOneElementIsThatOfAll(t *testing.T) {
	eachShape(t, func(t *testing.T, m, n, k int, mem *memory) {
		p := newProduct(mem, m, n, k, anything)
		p.run()
		for range min(m*n, 5) {
			i, j := mem.r.IntN(m), mem.r.IntN(n)
			one := *p
			one.m, one.n, one.c = 1, 1, []float32{0}
			one.a, one.b = p.a[min(i*p.rs, len(p.a)):], p.b[min(j, len(p.b)):]
			if p.from != nil {
				one.from = p.from[i*p.ldf+j:]
			}
			one.run()
			sameBits(t, fmt.Sprintf("element (%d, %d)", i, j), one.c, p.c[i*p.ldc+j:][:1])
		}
	})
}

func TestGemmAddsInPlace(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for n := 1; n < 70; n++ {
			p := newProduct(m, 7, n, 5, ordinary)
			if p.from == nil {
				continue
			}
			p.run()
			want := append([]float32(nil), p.c...)
			q := *p
			q.c, q.ldc = q.from, q.ldf
			q.run()
			for i := range 7 {
				sameBits(t, "row", q.c[i*q.ldc:][:n], want[i*p.ldc:][:n])
			}
			m.release(t)
		}
	})
}

func TestTranspose(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for rows := range 27 {
			for cols := range 27 {
				lds, ldd := cols+m.r.IntN(3), rows+m.r.IntN(3)
				var src, dst []float32
				if rows > 0 && cols > 0 {
					src = floats(m, (rows-1)*lds+cols, anything)
					dst = floats(m, (cols-1)*ldd+rows, ordinary)
				}
				want := append([]float32(nil), dst...)
				for i := range rows {
					for j := range cols {
						want[j*ldd+i] = src[i*lds+j]
					}
				}
				Transpose(dst, ldd, src, lds, rows, cols)
				for i := range want {
					if math.Float32bits(dst[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%d × %d: dst[%d] = %v, want %v", rows, cols, i, dst[i], want[i])
					}
				}
				m.release(t)
			}
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{{64, 64, 64}, {60, 64, 64}, {64, 32, 64}, {64, 16, 64}, {32, 64, 64}, {256, 256, 256}, {1, 64, 64}} {
		x, y, c := make([]float32, s.m*s.k), make([]float32, s.k*s.n), make([]float32, s.m*s.n)
		for _, tier := range Tiers() {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", s.m, s.n, s.k, tier), func(b *testing.B) {
				defer Force(tier)()
				for b.Loop() {
					Gemm(c, s.n, nil, 0, x, s.k, 1, y, s.n, s.m, s.n, s.k)
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	}
}

func BenchmarkTranspose(b *testing.B) {
	x, y := make([]float32, 4096), make([]float32, 4096)
	for _, tier := range Tiers() {
		b.Run(string(tier), func(b *testing.B) {
			defer Force(tier)()
			for b.Loop() {
				Transpose(y, 64, x, 64, 64, 64)
			}
		})
	}
}
