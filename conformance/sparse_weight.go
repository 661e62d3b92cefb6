package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var sparseWeight = spec.ModuleByName("sparse-weight")

var sparseWeightModule = &module{
	spec: sparseWeight,
	laws: map[string]func(*trial){
		"lossless":   sparseLossless,
		"stored":     sparseStored,
		"fixpoint":   sparseFixpoint,
		"replaced":   sparseReplaced,
		"bytes":      sparseBytes,
		"columns":    sparseColumns,
		"state":      sparseState,
		"stats":      sparseStats,
		"product":    sparseProduct,
		"layout":     sparseLayout,
		"round-trip": sparseRoundTrip,
		"foreign":    sparseForeign,
	},
	program: sparseProgram,
	badConfigs: map[string]any{
		"no format":       spec.SparseWeightConfig{N: 2, M: 4},
		"format coo":      spec.SparseWeightConfig{Format: "coo", N: 2, M: 4},
		"format NM":       spec.SparseWeightConfig{Format: "NM", N: 2, M: 4},
		"N 0":             spec.SparseWeightConfig{Format: spec.FormatNM, N: 0, M: 4},
		"N −1":            spec.SparseWeightConfig{Format: spec.FormatNMPacked, N: -1, M: 4},
		"N = M":           spec.SparseWeightConfig{Format: spec.FormatNM, N: 4, M: 4},
		"N = M in csr":    spec.SparseWeightConfig{Format: spec.FormatCSR, N: 4, M: 4},
		"M 1":             spec.SparseWeightConfig{Format: spec.FormatNM, N: 1, M: 1},
		"M 0":             spec.SparseWeightConfig{Format: spec.FormatBitmap, N: 2, M: 0},
		"M −4":            spec.SparseWeightConfig{Format: spec.FormatNM, N: 2, M: -4},
		"the least M":     spec.SparseWeightConfig{Format: spec.FormatNM, N: 2, M: math.MinInt},
		"everything zero": spec.SparseWeightConfig{},
	},
	badSteps: sparseBadSteps,
	// Products of the programs are exact: only the sign of a zero is free.
	equal: map[string]comparison{"multiply": func(t *trial, _ any, _ []any, got, want any) {
		t.equal("product", *got.(*[]float32), *want.(*[]float32))
	}},
	rows: []row{
		{"sparse-weight/compress", sparseCompressRow, (*trial).sameResult},
		{"sparse-weight/decompress", sparseDecompressRow, (*trial).sameResult},
		{"sparse-weight/compression-ratio", sparseRatioRow, (*trial).sameResult},
	},
}

func drawSparseConfig(t *trial) spec.SparseWeightConfig {
	nm := rapid.SampledFrom([][2]int{{2, 4}, {1, 2}, {1, 4}, {3, 4}, {2, 3}, {4, 8}, {5, 7}, {3, 20}}).Draw(t.T, "N:M")
	return spec.SparseWeightConfig{Format: rapid.SampledFrom(spec.SparseFormats).Draw(t.T, "format"), N: nm[0], M: nm[1]}
}

// drawSparse draws weights that a format takes, with few, some or many zeros.
func drawSparse(t *trial, c spec.SparseWeightConfig) spec.Matrix {
	rows, cols := size(t, 1, 4, "rows"), size(t, 1, 12, "cols")
	if c.Format.IsNM() {
		cols = c.M * size(t, 1, 3, "groups")
	}
	w := matrix(t, rows, cols, anyStyles, "weights")
	zeros := rapid.SampledFrom([]int{0, 3, 5, 9, 10}).Draw(t.T, "zeros of 10")
	r := source(t, "zeros")
	for i := range w.Data {
		if r.IntN(10) < zeros {
			w.Data[i] = 0
		}
	}
	return w
}

// sparseAxis is a vector whose product has nothing to round.
func sparseAxis(t *trial, cols int) []float32 {
	x := make([]float32, cols)
	x[rapid.IntRange(0, cols-1).Draw(t.T, "axis")] = rapid.SampledFrom([]float32{1, -1}).Draw(t.T, "sign")
	return x
}

func sparseProgram(t *trial, _ spec.Variant) program {
	c := drawSparseConfig(t)
	p := program{config: c}
	for i := range size(t, 1, 3, "rounds") {
		w := drawSparse(t, c)
		if i > 0 && t.impl.OffersOperation(sparseWeight, "unpack") && rapid.Bool().Draw(t.T, "unpack") {
			p.steps = append(p.steps, call(sparseWeight, "unpack", sparsePacked(c, w), w.Rows, w.Cols))
		} else {
			p.steps = append(p.steps, call(sparseWeight, "compress", w))
		}
		p.steps = append(p.steps, call(sparseWeight, "decompress"), call(sparseWeight, "compression_ratio"),
			call(sparseWeight, "multiply", sparseAxis(t, w.Cols)), call(sparseWeight, "pack"))
	}
	return p
}

func sparseBadSteps(t *trial, config any) []badStep {
	c := config.(spec.SparseWeightConfig)
	width := 3
	if c.Format.IsNM() {
		width = c.M
	}
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	spoiled := func(v float64) spec.Matrix {
		w := shaped(2, width)
		w.Data[rapid.IntRange(0, 2*width-1).Draw(t.T, "at")] = float32(v)
		return w
	}
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	for _, wrong := range []struct {
		what string
		w    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no rows", spec.Matrix{Cols: width}},
		{"no columns", spec.Matrix{Rows: 3}},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: width, Data: make([]float32, 2*width-1)}},
		{"more data than shape", spec.Matrix{Rows: 1, Cols: width, Data: make([]float32, 2*width)}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -width, Data: make([]float32, 2*width)}},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: width, Data: make([]float32, width)}},
		{"countless empty rows", spec.Matrix{Rows: math.MaxInt}},
		{"a NaN", spoiled(math.NaN())},
		{"+Inf", spoiled(math.Inf(1))},
		{"−Inf", spoiled(math.Inf(-1))},
	} {
		bad(wrong.what, call(sparseWeight, "compress", wrong.w))
	}
	for _, cols := range []int{1, c.M - 1, c.M + 1, 2*c.M - 1} {
		if c.Format.IsNM() && cols%c.M != 0 {
			what := fmt.Sprintf("%d columns in groups of %d", cols, c.M)
			bad(what, call(sparseWeight, "compress", shaped(c.M, cols)))
			bad(what, call(sparseWeight, "unpack", make([]uint8, 6*c.N), 1, cols))
		}
	}
	// No weights of a program have more than 60 columns.
	bad("no vector", call(sparseWeight, "multiply", []float32(nil)))
	bad("a vector too long", call(sparseWeight, "multiply", make([]float32, 61)))
	for _, v := range nonFinite {
		x := make([]float32, size(t, 1, 60, "length"))
		x[len(x)-1] = float32(v)
		bad(fmt.Sprintf("element %v", v), call(sparseWeight, "multiply", x))
	}
	w := drawSparse(t, c)
	packed := sparsePacked(c, w)
	bad("no rows", call(sparseWeight, "unpack", packed, 0, w.Cols))
	bad("no columns", call(sparseWeight, "unpack", packed, w.Rows, 0))
	bad("no bytes", call(sparseWeight, "unpack", []uint8(nil), w.Rows, w.Cols))
	bad("a byte too few", call(sparseWeight, "unpack", packed[:len(packed)-1], w.Rows, w.Cols))
	bad("a byte too many", call(sparseWeight, "unpack", append(packed[:len(packed):len(packed)], 0), w.Rows, w.Cols))
	bad("a negative shape", call(sparseWeight, "unpack", packed, -w.Rows, -w.Cols))
	bad("countless rows", call(sparseWeight, "unpack", packed, math.MaxInt, w.Cols))
	bad("countless columns", call(sparseWeight, "unpack", packed, w.Rows, math.MaxInt))
	bad("a shape beyond an int", call(sparseWeight, "unpack", packed, math.MaxInt, math.MaxInt))
	// In csr eight bytes are a row of any length without values.
	bad("2³¹ columns", call(sparseWeight, "unpack", make([]uint8, 8), 1, 1<<31-1))
	return list
}

// sparseStores reports whether a format stores weight i, by the definition: in its group
// fewer than N beat it.
func sparseStores(c spec.SparseWeightConfig, w spec.Matrix, i int) bool {
	if !c.Format.IsNM() {
		return w.Data[i] != 0
	}
	beaten, first := 0, i/c.M*c.M
	for j := first; j < first+c.M; j++ {
		if a, b := math.Abs(float64(w.Data[j])), math.Abs(float64(w.Data[i])); a > b || a == b && j < i {
			beaten++
		}
	}
	return beaten < c.N
}

// sparseOnly is what weights decompress to: the stored ones, and +0.
func sparseOnly(c spec.SparseWeightConfig, w spec.Matrix) spec.Matrix {
	out := cloneAs(w)
	for i := range w.Data {
		if !sparseStores(c, w, i) {
			out.Data[i] = 0
		}
	}
	return out
}

// A sparseBits is written from the lowest bit of its first byte on.
type sparseBits struct {
	bytes []uint8
	bits  int
}

func (b *sparseBits) put(number uint64, width int) {
	for k := range width {
		if b.bits%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.bits/8] |= uint8(number>>k&1) << (b.bits % 8)
		b.bits++
	}
}

// next reads a number, 0 behind the end.
func (b *sparseBits) next(width int) (number uint64) {
	for k := range width {
		if at := b.bits / 8; at < len(b.bytes) {
			number |= uint64(b.bytes[at]>>(b.bits%8)&1) << k
		}
		b.bits++
	}
	return number
}

// align goes on to the next byte.
func (b *sparseBits) align() { b.bits = (b.bits + 7) / 8 * 8 }

// sparseColumnBits is the width of a column, or of a place in a group.
func sparseColumnBits(c spec.SparseWeightConfig, cols int) int {
	switch {
	case c.Format == spec.FormatNMPacked:
		width := 0
		for 1<<width < c.M {
			width++
		}
		return width
	case c.Format == spec.FormatCSR && cols > 1<<16:
		return 32
	}
	return 16
}

// sparsePacked is the storage of weights by its definition, bit by bit.
func sparsePacked(c spec.SparseWeightConfig, w spec.Matrix) []uint8 {
	var index, values sparseBits
	var before []uint64 // values before each row, and in all
	var columns []uint64
	for i, x := range w.Data {
		if i%w.Cols == 0 {
			before = append(before, uint64(len(columns)))
		}
		stored := sparseStores(c, w, i)
		if stored {
			values.put(uint64(math.Float32bits(x)), 32)
			columns = append(columns, uint64(i%w.Cols))
		}
		if c.Format == spec.FormatBitmap {
			bit := uint64(0)
			if stored {
				bit = 1
			}
			index.put(bit, 1)
		}
	}
	if c.Format == spec.FormatCSR {
		for _, n := range append(before, uint64(len(columns))) {
			index.put(n, 32)
		}
	}
	if c.Format != spec.FormatBitmap {
		for _, column := range columns {
			if c.Format == spec.FormatNMPacked {
				column %= uint64(c.M)
			}
			index.put(column, sparseColumnBits(c, w.Cols))
		}
	}
	return append(index.bytes, values.bytes...)
}

// sparseRead reads packed weights with no regard to whether they are any, and puts
// what it can where the bytes say. Packing the result shows whether they are.
func sparseRead(c spec.SparseWeightConfig, packed []uint8, rows, cols int) spec.Matrix {
	w := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	b := sparseBits{bytes: packed}
	var places []uint64
	switch c.Format {
	case spec.FormatBitmap:
		for i := range w.Data {
			if b.next(1) == 1 {
				places = append(places, uint64(i))
			}
		}
	case spec.FormatCSR:
		var before []uint64
		for range rows + 1 {
			before = append(before, b.next(32))
		}
		for r := range rows {
			for i := before[r]; i < min(before[r+1], uint64(len(packed))); i++ {
				places = append(places, uint64(r*cols)+b.next(sparseColumnBits(c, cols)))
			}
		}
	default:
		for group := 0; group < len(w.Data); group += c.M {
			from := group / cols * cols
			if c.Format == spec.FormatNMPacked {
				from = group
			}
			for range c.N {
				places = append(places, uint64(from)+b.next(sparseColumnBits(c, cols)))
			}
		}
	}
	b.align()
	for _, place := range places {
		if value := math.Float32frombits(uint32(b.next(32))); place < uint64(len(w.Data)) {
			w.Data[place] = value
		}
	}
	return w
}

func sparsePack(t *trial, s spec.SparseWeight) []uint8 {
	t.Helper()
	var packed []uint8
	t.must(s.(spec.SparseWeightStorage).Pack(&packed))
	return packed
}

func sparseDecompressed(t *trial, s spec.SparseWeight) spec.Matrix {
	t.Helper()
	var dense spec.Matrix
	t.must(s.Decompress(&dense))
	return dense
}

// sparseCompressed compresses with a new instance.
func sparseCompressed(t *trial, c spec.SparseWeightConfig, w spec.Matrix) spec.SparseWeight {
	t.Helper()
	s := open(t, t.impl.SparseWeight, c)
	t.must(s.Compress(w))
	return s
}

func sparseLossless(t *trial) {
	c := drawSparseConfig(t)
	w := drawSparse(t, c)
	if c.Format.IsNM() {
		w = sparseThinned(t, c, w)
	}
	t.equal("dense", sparseDecompressed(t, sparseCompressed(t, c, w)), w)
}

// sparseThinned leaves at most N weights in every M, at any places.
func sparseThinned(t *trial, c spec.SparseWeightConfig, w spec.Matrix) spec.Matrix {
	r := source(t, "places")
	for group := 0; group < len(w.Data); group += c.M {
		for _, place := range r.Perm(c.M)[c.N:] {
			w.Data[group+place] = 0
		}
	}
	return w
}

func sparseStored(t *trial) {
	c := drawSparseConfig(t)
	w := drawSparse(t, c)
	t.sameBits("dense", sparseDecompressed(t, sparseCompressed(t, c, w)), sparseOnly(c, w))
}

func sparseFixpoint(t *trial) {
	c := drawSparseConfig(t)
	once := sparseCompressed(t, c, drawSparse(t, c))
	w := sparseDecompressed(t, once)
	twice := sparseCompressed(t, c, w)
	t.sameBits("dense", sparseDecompressed(t, twice), w)
	t.equal("memory_bytes ", twice.MemoryBytes(), once.MemoryBytes())
}

func sparseReplaced(t *trial) {
	c := drawSparseConfig(t)
	first, second := drawSparse(t, c), drawSparse(t, c)
	s := sparseCompressed(t, c, first)
	t.must(s.Compress(second))
	alone := sparseCompressed(t, c, second)
	t.equal("memory_bytes ", s.MemoryBytes(), alone.MemoryBytes())
	t.sameBits("dense", sparseDecompressed(t, s), sparseDecompressed(t, alone))
}

func sparseBytes(t *trial) {
	c := drawSparseConfig(t)
	s := open(t, t.impl.SparseWeight, c)
	check := func(dense, memory int, ratio float64) {
		t.equal("dense_memory_bytes ", s.DenseMemoryBytes(), dense)
		t.equal("memory_bytes ", s.MemoryBytes(), memory)
		t.within("compression_ratio", s.CompressionRatio(), ratio, 0x1p-50*ratio)
	}
	check(0, 0, 0)
	w := drawSparse(t, c)
	t.must(s.Compress(w))
	n, values := len(w.Data), 0
	for i := range w.Data {
		if sparseStores(c, w, i) {
			values++
		}
	}
	memory := map[spec.SparseFormat]int{
		spec.FormatNM:       6 * n / c.M * c.N,
		spec.FormatNMPacked: 4*n/c.M*c.N + (n/c.M*c.N*sparseColumnBits(c, w.Cols)+7)/8,
		spec.FormatCSR:      4*(w.Rows+1) + 6*values,
		spec.FormatBitmap:   (n+7)/8 + 4*values,
	}[c.Format]
	check(4*n, memory, float64(4*n)/float64(memory))
}

// sparseColumns has rows around the 65,536 columns that 2 bytes reach.
func sparseColumns(t *trial) {
	c := drawSparseConfig(t)
	c.N, c.M = 2, 4
	cols := rapid.SampledFrom([]int{1 << 15, 1<<15 + 4, 1 << 16, 1<<16 + 4}).Draw(t.T, "cols")
	w := spec.Matrix{Rows: 1, Cols: cols, Data: make([]float32, cols)}
	r := source(t, "columns")
	w.Data[cols-1] = 1
	for range 4 {
		w.Data[cols-1-r.IntN(cols/4)*4] = 2 // one in a group
	}
	s := open(t, t.impl.SparseWeight, c)
	err := s.Compress(w)
	if c.Format == spec.FormatNM && cols > 1<<16 {
		t.refused(fmt.Sprintf("%d columns in nm", cols), err)
		return
	}
	t.must(err)
	got := sparseDecompressed(t, s)
	t.holds(got.Rows == 1 && got.Cols == cols && len(got.Data) == cols, "got shape (%d, %d), want (1, %d)", got.Rows, got.Cols, cols)
	for i, x := range w.Data {
		if got.Data[i] != x {
			t.fail(t.symptom, "column %d: got %v, want %v", i, got.Data[i], x)
		}
	}
	if c.Format == spec.FormatCSR {
		values := 0
		for _, x := range w.Data {
			if x != 0 {
				values++
			}
		}
		t.equal(fmt.Sprintf("memory_bytes of %d columns ", cols), s.MemoryBytes(), 4*2+values*(4+sparseColumnBits(c, cols)/8))
	}
}

func sparseState(t *trial) {
	s := open(t, t.impl.SparseWeight, drawSparseConfig(t))
	var dense spec.Matrix
	t.refused("decompress before compress", s.Decompress(&dense))
	if t.impl.OffersOperation(sparseWeight, "multiply") {
		var product []float32
		x := make([]float32, size(t, 0, 3, "length"))
		t.refused("multiply before compress", s.(spec.SparseWeightProduct).Multiply(&product, x))
	}
	if t.impl.OffersOperation(sparseWeight, "pack") {
		var packed []uint8
		t.refused("pack before compress", s.(spec.SparseWeightStorage).Pack(&packed))
	}
}

func sparseStats(t *trial) {
	c := drawSparseConfig(t)
	s := open(t, t.impl.SparseWeight, c)
	var want spec.SparseWeightStats
	for range size(t, 0, 6, "calls") {
		w := drawSparse(t, c)
		switch operation := rapid.IntRange(0, 3).Draw(t.T, "operation"); {
		case operation == 0:
			t.must(s.Compress(w))
			want.Compressions++
		case operation == 1 && t.impl.OffersOperation(sparseWeight, "unpack"):
			t.must(s.(spec.SparseWeightStorage).Unpack(sparsePacked(c, w), w.Rows, w.Cols))
		default:
			var dense spec.Matrix
			if s.Decompress(&dense) == nil {
				want.Decompressions++
			}
		}
		want.Ratio = s.CompressionRatio()
	}
	got := s.Stats()
	t.within("current_compression_ratio", got.Ratio, want.Ratio, 0x1p-50*want.Ratio)
	got.Ratio = want.Ratio
	t.equal("stats", got, want)
}

func sparseProduct(t *trial) {
	c := drawSparseConfig(t)
	w := drawSparse(t, c)
	x := numbers(t, w.Cols, moderateStyles, "vector")
	s := sparseCompressed(t, c, w)
	var got []float32
	t.must(s.(spec.SparseWeightProduct).Multiply(&got, x))
	t.equal("length of product ", len(got), w.Rows)
	dense := sparseOnly(c, w)
	for r := range w.Rows {
		sum, magnitude := bigNumber(0), bigNumber(0)
		for i, v := range dense.Row(r) {
			product := new(big.Float).Mul(bigNumber(float64(v)), bigNumber(float64(x[i])))
			sum.Add(sum, product)
			magnitude.Add(magnitude, product.Abs(product))
		}
		want, _ := sum.Float64()
		if bound, _ := magnitude.Float64(); bound < math.MaxFloat32 {
			t.within(fmt.Sprintf("product[%d]", r), float64(got[r]), want, t.u*float64(w.Cols+2)*bound+t.u*0x1p-125)
		}
	}
}

func sparseLayout(t *trial) {
	c := drawSparseConfig(t)
	w := drawSparse(t, c)
	s := sparseCompressed(t, c, w)
	packed := sparsePack(t, s)
	t.equal("packed", packed, sparsePacked(c, w))
	t.equal("number of bytes ", len(packed), s.MemoryBytes())
}

func sparseRoundTrip(t *trial) {
	c := drawSparseConfig(t)
	w := drawSparse(t, c)
	s := sparseCompressed(t, c, w)
	packed := sparsePack(t, s)
	other := open(t, t.impl.SparseWeight, c)
	if rapid.Bool().Draw(t.T, "used") {
		t.must(other.Compress(drawSparse(t, c)))
	}
	t.must(other.(spec.SparseWeightStorage).Unpack(packed, w.Rows, w.Cols))
	t.sameBits("dense", sparseDecompressed(t, other), sparseDecompressed(t, s))
	t.equal("packed", sparsePack(t, other), packed)
	t.equal("memory_bytes ", other.MemoryBytes(), s.MemoryBytes())
	t.equal("dense_memory_bytes ", other.DenseMemoryBytes(), s.DenseMemoryBytes())
}

// sparseForeign gives one byte each of its values.
func sparseForeign(t *trial) {
	c := drawSparseConfig(t)
	w := drawSparse(t, c)
	packed := sparsePacked(c, w)
	s := open(t, t.impl.SparseWeight, c)
	unpack := s.(spec.SparseWeightStorage).Unpack
	at := rapid.IntRange(0, len(packed)-1).Draw(t.T, "byte")
	if rapid.Bool().Draw(t.T, "near the start") {
		at = min(at, size(t, 0, 7, "near byte"))
	}
	own := packed[at]
	for value := range 256 {
		packed[at] = uint8(value)
		read := sparseRead(c, packed, w.Rows, w.Cols)
		known := spec.CheckFinite("", "", read.Data) == nil && string(sparsePacked(c, read)) == string(packed)
		err := unpack(packed, w.Rows, w.Cols)
		if !known {
			t.refused(fmt.Sprintf("%d as byte %d of %s", value, at, c.Format), err)
			continue
		}
		t.must(err)
		t.equal("packed", sparsePack(t, s), packed)
	}
	packed[at] = own
	t.refused("a byte too many", unpack(append(packed, 0), w.Rows, w.Cols))
	t.refused("a byte too few", unpack(packed[:len(packed)-1], w.Rows, w.Cols))
}

// sparseRow is an instance as a row has it, and Gaussian weights with a share of
// zeros at random places.
func sparseRow(impl spec.Implementation, w spec.Workload) (spec.SparseWeight, spec.Matrix, error) {
	c := spec.DefaultSparseWeightConfig()
	c.Format = spec.SparseFormat(w.Text("format", string(c.Format)))
	c.N, c.M = w.Int("N", c.N), w.Int("M", c.M)
	x := spec.Matrix{Rows: w.Int("rows", 256), Cols: w.Int("cols", 256)}
	x.Data = gaussian(x.Rows*x.Cols, 24)
	zeros := spec.DropCount(w.Float("sparsity", 0), len(x.Data))
	for _, i := range rand.New(rand.NewPCG(25, 0x5eed)).Perm(len(x.Data))[:zeros] {
		x.Data[i] = 0
	}
	s, err := impl.SparseWeight(c)
	return s, x, err
}

func sparseNote(s spec.SparseWeight) func() string {
	return func() string { return fmt.Sprintf("%.2f× dense float32", 1/s.CompressionRatio()) }
}

func sparseCompressRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	s, x, err := sparseRow(impl, w)
	return timing{
		calls: 1,
		call:  func(int) error { return s.Compress(x) },
		result: func() (any, error) {
			var dense spec.Matrix
			return &dense, s.Decompress(&dense)
		},
		note: sparseNote(s),
	}, err
}

func sparseDecompressRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	s, x, err := sparseRow(impl, w)
	if err == nil {
		err = s.Compress(x)
	}
	var dense spec.Matrix
	return timing{
		calls:  1,
		call:   func(int) error { return s.Decompress(&dense) },
		result: func() (any, error) { return &dense, nil },
		note:   sparseNote(s),
	}, err
}

func sparseRatioRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	s, x, err := sparseRow(impl, w)
	return timing{
		calls: 1,
		call:  func(int) error { return s.Compress(x) },
		result: func() (any, error) {
			ratio := s.CompressionRatio()
			return &ratio, nil
		},
		note: func() string { return fmt.Sprintf("%d of %d bytes", s.MemoryBytes(), s.DenseMemoryBytes()) },
	}, err
}
