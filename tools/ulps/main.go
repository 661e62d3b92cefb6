// Ulps measures the error of fast's exponential and logarithm over all float32s,
// with the vector instructions in use, and exits with 1 where one is more than 2
// ULP from the correctly rounded value.
//
//	go run ./tools/ulps                                all 2³² inputs: minutes
//	SQUISHSPEC_SIMD=avx2 go run ./tools/ulps --stride 4093
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"sync"

	"github.com/alecthomas/kong"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/fast/elementary"
)

// limit is what a result may be away from the correctly rounded one, in float32s.
const limit = 2

type function struct {
	name  string
	fast  func(dst *[]float32, x []float32)
	exact func(float64) float64
}

var functions = []function{
	{"exp", elementary.Exp, math.Exp},
	{"log", elementary.Log, math.Log},
}

func main() {
	var flags struct {
		Stride uint32 `help:"Take every so-manieth float32." default:"1"`
	}
	kong.Parse(&flags, kong.Description("Ulps measures the error of fast's exponential and logarithm over all float32s."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, functions, flags.Stride, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ulps:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, functions []function, stride uint32, out, progress io.Writer) error {
	if err := fast.CheckSIMD(); err != nil {
		return err
	}
	if stride == 0 {
		return errors.New("--stride: want at least 1, got 0")
	}
	for _, f := range functions {
		worst, n := f.measure(ctx, stride, progress)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Fprintf(out, "%s, %s: %d inputs, at most %d float32s from the correctly rounded value, and %.3f ULP from the exact one, at %v\n",
			f.name, fast.SIMD(), n, worst.steps, worst.ulps, worst.at)
		if worst.steps > limit {
			return fmt.Errorf("%s(%v): want at most %d float32s from the correctly rounded value, got %d", f.name, worst.at, limit, worst.steps)
		}
	}
	return nil
}

// An extreme is the largest error of some inputs, and one of them that has it.
type extreme struct {
	steps int64   // float32s from the correctly rounded value
	ulps  float64 // from the exact value, in units of its last place
	at    float32
}

func (e *extreme) take(other extreme) {
	if other.steps > e.steps || other.steps == e.steps && other.ulps > e.ulps {
		*e = other
	}
}

// block is how many inputs are computed at once.
const block = 1 << 16

// measure returns the largest error, and the number of inputs.
func (f function) measure(ctx context.Context, stride uint32, progress io.Writer) (worst extreme, n uint64) {
	n = (1<<32 + uint64(stride) - 1) / uint64(stride)
	blocks := make(chan uint64)
	var bar *progressbar.ProgressBar
	if file, ok := progress.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		bar = progressbar.NewOptions64(int64(n), progressbar.OptionSetWriter(progress), progressbar.OptionSetDescription(f.name),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	}
	var mutex sync.Mutex
	var rest sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		rest.Go(func() {
			var got []float32
			x := make([]float32, 0, block)
			for first := range blocks {
				x = x[:0]
				for k := first; k < min(first+block, n); k++ {
					x = append(x, math.Float32frombits(uint32(k*uint64(stride))))
				}
				f.fast(&got, x)
				var own extreme
				for i, v := range x {
					own.take(compare(v, got[i], f.exact(float64(v))))
				}
				mutex.Lock()
				worst.take(own)
				if bar != nil {
					bar.Add(len(x))
				}
				mutex.Unlock()
			}
		})
	}
	for first := uint64(0); first < n && ctx.Err() == nil; first += block {
		blocks <- first
	}
	close(blocks)
	rest.Wait()
	return worst, n
}

// compare returns the error of one result.
func compare(x, got float32, exact float64) extreme {
	e := extreme{at: x}
	rounded := float32(exact)
	switch {
	case got != got && exact != exact || got == rounded:
		if d := math.Abs(float64(got) - exact); d > 0 && !math.IsInf(d, 0) {
			e.ulps = d / lastPlace(rounded)
		}
	case got != got || exact != exact:
		e.steps, e.ulps = math.MaxInt64, math.Inf(1)
	default:
		e.steps = ordinal(got) - ordinal(rounded)
		e.steps = max(e.steps, -e.steps)
		e.ulps = math.Abs(float64(got)-exact) / lastPlace(rounded)
	}
	return e
}

// lastPlace is the value of x's last binary digit.
func lastPlace(x float32) float64 {
	exponent := math.Ilogb(max(math.Abs(float64(x)), 0x1p-126))
	return math.Ldexp(1, min(exponent, 127)-23)
}

// ordinal numbers the float32s in their order, both zeros 0.
func ordinal(x float32) int64 {
	bits := int64(math.Float32bits(x))
	if bits >= 1<<31 {
		return 1<<31 - bits
	}
	return bits
}
