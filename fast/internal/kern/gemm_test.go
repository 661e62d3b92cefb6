package kern

import (
	"fmt"
	"slices"
	"testing"
)

// A product is the arguments of Gemm. Rows are further apart than they are long, and
// what lies between them is garbage, or in c must stay.
type product struct {
	c, from, a, b View
	factors       []float32
}

// newProduct takes a product of numbers of a style, a transposed or not, from and
// factors given or not.
func newProduct(m *memory, rows, cols, k int, draw style) *product {
	view := func(rows, cols int, draw style) View {
		v := Rows(nil, rows, cols, cols+m.r.IntN(3))
		v.Data = floats(m, v.span(), draw)
		return v
	}
	p := &product{c: view(rows, cols, ordinary), a: view(rows, k, draw), b: view(k, cols, draw)}
	if m.r.IntN(2) == 0 {
		p.a = view(k, rows, draw).T()
	}
	if rows*cols > 0 && m.r.IntN(2) == 0 {
		p.from = view(rows, cols, draw)
		if m.r.IntN(2) == 0 {
			p.factors = floats(m, rows, ordinary)
		}
	}
	return p
}

func (p *product) run() { Gemm(p.c, p.from, p.factors, p.a, p.b) }

// terms returns what element (i, j) is the sum of, in buffer.
func (p *product) terms(i, j int, buffer []float64) []float64 {
	out := buffer[:0]
	for q := range p.a.Cols {
		out = append(out, float64(*p.a.at(i, q))*float64(*p.b.at(q, j)))
	}
	if p.from.Data != nil {
		v := float64(*p.from.at(i, j))
		if p.factors != nil {
			v *= float64(p.factors[i])
		}
		out = append(out, v)
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
				if edge := (n+2)%16 < 5; m == 7 || edge && (m+n)%2 == 0 {
					run(m, n, (m*5+n*7)%11)
				}
			}
		}
		for range 6 {
			run(mem.r.IntN(30), mem.r.IntN(150), mem.r.IntN(70))
		}
	})
}

func TestGemmIsTheSumOfProducts(t *testing.T) {
	var terms []float64
	eachShape(t, func(t *testing.T, m, n, k int, mem *memory) {
		for _, draw := range []style{ordinary, anything} {
			p := newProduct(mem, m, n, k, draw)
			before := slices.Clone(p.c.Data)
			p.run()
			for at, got := range p.c.Data {
				i, j := at/p.c.Down, at%p.c.Down
				if j >= n {
					sameBits(t, "between rows", p.c.Data[at:at+1], before[at:at+1])
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
			one := product{
				c: Rows([]float32{0}, 1, 1, 1), from: p.from.Block(i, i+1, j, j+1),
				a: p.a.Block(i, i+1, 0, k), b: p.b.Block(0, k, j, j+1),
			}
			if p.factors != nil {
				one.factors = p.factors[i : i+1]
			}
			one.run()
			sameBits(t, fmt.Sprintf("element (%d, %d)", i, j), one.c.Data, p.c.Block(i, i+1, j, j+1).Data)
		}
	})
}

func TestGemmAddsInPlace(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for n := 1; n < 70; n++ {
			p := newProduct(m, 7, n, 5, ordinary)
			if p.from.Data != nil {
				p.run()
				want := p.c
				p.c = p.from
				p.run()
				for i := range 7 {
					sameBits(t, "row", p.c.Block(i, i+1, 0, n).Data, want.Block(i, i+1, 0, n).Data)
				}
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
				src, dst := Rows(nil, rows, cols, cols+m.r.IntN(3)), Rows(nil, cols, rows, rows+m.r.IntN(3))
				src.Data, dst.Data = floats(m, src.span(), anything), floats(m, dst.span(), ordinary)
				want := dst
				want.Data = slices.Clone(dst.Data)
				for i := range rows {
					for j := range cols {
						*want.at(j, i) = *src.at(i, j)
					}
				}
				Transpose(dst, src)
				sameBits(t, "dst", dst.Data, want.Data)
				m.release(t)
				if t.Failed() {
					t.Fatalf("%d × %d", rows, cols)
				}
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
					Gemm(Rows(c, s.m, s.n, s.n), View{}, nil, Rows(x, s.m, s.k, s.k), Rows(y, s.k, s.n, s.n))
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
				Transpose(Rows(y, 64, 64, 64), Rows(x, 64, 64, 64))
			}
		})
	}
}
