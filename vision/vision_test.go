package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

var small = Config{Patch: 2, Grid: 3, Dim: 8, Hidden: 6, Layers: 2, Heads: 2, Classes: 3}

// random is a model whose attention is far from uniform.
func random(t *testing.T, c Config) *Model {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	p := make([]float32, c.Parameters())
	for i := range p {
		p[i] = float32(r.NormFloat64() / 2)
	}
	m, err := New(c, p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func noise(w, h int) *image.Gray {
	r := rand.New(rand.NewPCG(2, 2))
	picture := image.NewGray(image.Rect(0, 0, w, h))
	for i := range picture.Pix {
		picture.Pix[i] = uint8(r.IntN(256))
	}
	return picture
}

func TestAFileComesBack(t *testing.T) {
	m := random(t, small)
	again, err := Parse("m", m.Bytes())
	if err != nil || again.Config != m.Config || !slices.Equal(again.Parameters, m.Parameters) {
		t.Fatal(again, err)
	}
	if &m.Head[len(m.Head)-1] != &m.Parameters[len(m.Parameters)-1] {
		t.Error("the last parameter is not the head's last")
	}
}

func TestFilesAreChecked(t *testing.T) {
	whole := random(t, small).Bytes()
	with := func(at int, v uint32) []byte {
		data := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(data[at:], v)
		return data
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "a header of 32 bytes"}, {whole[:31], "a header of 32 bytes"}, {whole[:32], "bytes that its header asks for"},
		{whole[:len(whole)-1], "bytes that its header asks for"}, {append(bytes.Clone(whole), 0), "bytes that its header asks for"},
		{with(0, 0x01546957), "the magic number"}, {with(4, 0), "patch"}, {with(8, 1<<31), "grid"}, {with(12, 6), "dim"}, {with(12, 4*65535), "dim"},
		{with(16, 1<<32-1), "hidden"}, {with(20, 0), "layers"}, {with(24, 3), "heads"}, {with(28, 0), "classes"},
		{with(16, 1<<16), "bytes that its header asks for"}, {with(36, math.Float32bits(float32(math.NaN()))), "parameters[1]"},
	} {
		_, err := Parse("some.bin", c.data)
		if spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "some.bin") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want one line on %s", err, c.want)
		}
	}
	if _, err := New(small, make([]float32, 5)); spec.KindOf(err) != spec.Invalid {
		t.Error(err)
	}
}

func TestPatchesGoRowByRow(t *testing.T) {
	picture := image.NewGray(image.Rect(0, 0, 6, 4))
	for i := range picture.Pix {
		picture.Pix[i] = uint8(i)
	}
	inside := picture.SubImage(image.Rect(2, 0, 6, 4)).(*image.Gray)
	var p spec.Matrix
	if err := Patches(&p, inside, 2); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float32{{2, 3, 8, 9}, {4, 5, 10, 11}, {14, 15, 20, 21}, {16, 17, 22, 23}} {
		for k, v := range want {
			if got := p.Row(i)[k]; got != (v-127.5)/127.5 {
				t.Errorf("patch %d, pixel %d: %v", i, k, got)
			}
		}
	}
	for _, bad := range []image.Rectangle{image.Rect(0, 0, 5, 4), image.Rect(0, 0, 4, 5), image.Rect(0, 0, 0, 0), image.Rect(0, 0, 4, 0)} {
		if err := Patches(&p, image.NewGray(bad), 2); spec.KindOf(err) != spec.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// Another grid is stretched onto the trained one: a place of it that is also one of the
// other has its position, and those between lie between.
func TestPositionsOfAnotherGrid(t *testing.T) {
	c := small
	trained, wide := c.Positions(3, 3), c.Positions(9, 3)
	for row := range 3 {
		for col := range 3 {
			if !slices.Equal(trained.Row(3*row+col), wide.Row(9*row+3*col+1)) {
				t.Errorf("row %d, column %d moved", row, col)
			}
		}
	}
	if a, b := trained.Row(1), trained.Row(3); !slices.Equal(a[:4], b[4:]) || slices.Equal(a, b) {
		t.Errorf("the axes differ: %v, %v", a, b)
	}
	seen := map[string]bool{}
	all := c.Positions(5, 4)
	for i := range all.Rows {
		seen[fmt.Sprint(all.Row(i))] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d of 20 places are told apart", len(seen))
	}
}

// plainLayer is a layer in float64, as its formulas say.
func plainLayer(c Config, l *Layer, x [][]float64) (out [][]float64, attention [][][]float64) {
	norm := func(x []float64, w []float32) []float64 {
		sum := 0.0
		for _, v := range x {
			sum += v * v / float64(len(x))
		}
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = v / math.Sqrt(sum+Epsilon) * float64(w[i])
		}
		return y
	}
	times := func(w []float32, x []float64) (y []float64) {
		for r := 0; r < len(w); r += len(x) {
			sum := 0.0
			for i, v := range x {
				sum += float64(w[r+i]) * v
			}
			y = append(y, sum)
		}
		return y
	}
	var q, k, v [][]float64
	for _, row := range x {
		n := norm(row, l.AttentionNorm)
		q, k, v = append(q, times(l.Queries, n)), append(k, times(l.Keys, n)), append(v, times(l.Values, n))
	}
	d := c.Dim / c.Heads
	heads := make([][]float64, len(x))
	for i := range heads {
		heads[i] = make([]float64, c.Dim)
	}
	for h := range c.Heads {
		var rows [][]float64
		for i := range x {
			row, sum := make([]float64, len(x)), 0.0
			for j := range x {
				for e := h * d; e < (h+1)*d; e++ {
					row[j] += q[i][e] * k[j][e] / math.Sqrt(float64(d))
				}
				row[j] = math.Exp(row[j])
				sum += row[j]
			}
			for j := range x {
				row[j] /= sum
				for e := h * d; e < (h+1)*d; e++ {
					heads[i][e] += row[j] * v[j][e]
				}
			}
			rows = append(rows, row)
		}
		attention = append(attention, rows)
	}
	for i, row := range x {
		y := slices.Clone(row)
		for e, o := range times(l.Output, heads[i]) {
			y[e] += o
		}
		hidden := times(l.Up, norm(y, l.FeedForwardNorm))
		for e := range hidden {
			hidden[e] = max(hidden[e], 0)
		}
		for e, o := range times(l.Down, hidden) {
			y[e] += o
		}
		out = append(out, y)
	}
	return out, attention
}

func TestALayerIsItsFormulas(t *testing.T) {
	m := random(t, small)
	s := m.Session()
	var x spec.Matrix
	if err := s.Embed(&x, noise(10, 4)); err != nil || x.Rows != 10 {
		t.Fatal(x.Rows, err)
	}
	for layer := range m.Layers {
		var plain [][]float64
		for i := range x.Rows {
			var row []float64
			for _, v := range x.Row(i) {
				row = append(row, float64(v))
			}
			plain = append(plain, row)
		}
		want, attention := plainLayer(small, &m.Layers[layer], plain)
		s.Layer(&x, layer)
		for i, row := range want {
			for e, v := range row {
				if got := float64(x.Row(i)[e]); !(math.Abs(got-v) < 1e-4*(1+math.Abs(v))) {
					t.Fatalf("layer %d, token %d, element %d: %v, want %v", layer, i, e, got, v)
				}
			}
			for h := range small.Heads {
				sum := 0.0
				for j, v := range s.Attention.Head(h).Row(i) {
					sum += float64(v)
					if d := float64(v) - attention[h][i][j]; !(math.Abs(d) < 1e-5) {
						t.Fatalf("layer %d, head %d: attention of %d to %d is off by %v", layer, h, i, j, d)
					}
				}
				if math.Abs(sum-1) > 1e-5 {
					t.Errorf("a row of attention sums to %v", sum)
				}
			}
		}
	}
}

// Tokens that are left out have no say: the rest give what they give alone.
func TestTokensThatAreLeftOutAreGone(t *testing.T) {
	m := random(t, small)
	s := m.Session()
	var x spec.Matrix
	if err := s.Embed(&x, noise(6, 6)); err != nil {
		t.Fatal(err)
	}
	s.Layer(&x, 0)
	some := spec.Matrix{Rows: 2, Cols: x.Cols, Data: slices.Concat(x.Row(3), x.Row(7))}
	again := spec.Matrix{Rows: 2, Cols: x.Cols, Data: slices.Clone(some.Data)}
	s.Layer(&x, 1)
	whole := slices.Clone(s.Logits(x))
	s.Layer(&some, 1)
	if s.Attention.Tokens != 2 || s.Attention.Dim != 2 {
		t.Errorf("attention of %d × %d tokens, want 2 × 2", s.Attention.Tokens, s.Attention.Dim)
	}
	few := slices.Clone(s.Logits(some))
	alone := m.Session()
	alone.Layer(&again, 1)
	if !slices.Equal(few, alone.Logits(again)) || slices.Equal(few, whole) {
		t.Errorf("%v, alone %v, whole %v", few, alone.Logits(again), whole)
	}
	var none spec.Matrix
	none.Resize(0, small.Dim)
	s.Layer(&none, 1)
	if got := s.Logits(none); !slices.Equal(got, []float32{0, 0, 0}) {
		t.Errorf("of no tokens: %v", got)
	}
}

// A session goes from one grid to another, and has the positions of each.
func TestASessionForgetsTheGrid(t *testing.T) {
	m := random(t, small)
	s := m.Session()
	var x, want spec.Matrix
	for _, p := range []*image.Gray{noise(6, 4), noise(4, 6), noise(4, 8), noise(6, 4)} {
		if err := errors.Join(s.Embed(&x, p), m.Session().Embed(&want, p)); err != nil {
			t.Fatal(err)
		}
		if x.Rows != want.Rows || !slices.Equal(x.Data, want.Data) {
			t.Errorf("%v: other tokens than a new session's", p.Rect)
		}
	}
}

// The mean of tokens is by the shares that the query gives them.
func TestLogitsAreOfAWeightedMean(t *testing.T) {
	m := random(t, small)
	x := spec.Matrix{Rows: 2, Cols: 8, Data: []float32{1, 2, 3, 4, 5, 6, 7, 8, 8, -7, 6, -5, 4, -3, 2, -1}}
	var shares, logits [3]float64
	var normed [2][]float64
	sum := 0.0
	for i := range 2 {
		squares, score := 0.0, 0.0
		for _, v := range x.Row(i) {
			squares += float64(v) * float64(v) / 8
		}
		for e, v := range x.Row(i) {
			n := float64(v) / math.Sqrt(squares+Epsilon) * float64(m.Norm[e])
			normed[i] = append(normed[i], n)
			score += n * float64(m.Query[e])
		}
		shares[i] = math.Exp(score)
		sum += shares[i]
	}
	for c := range logits {
		for i := range 2 {
			for e, n := range normed[i] {
				logits[c] += shares[i] / sum * n * float64(m.Head[c*8+e])
			}
		}
	}
	for c, v := range m.Session().Logits(x) {
		if math.Abs(float64(v)-logits[c]) > 1e-5 {
			t.Errorf("class %d: %v, want %v", c, v, logits[c])
		}
	}
}
