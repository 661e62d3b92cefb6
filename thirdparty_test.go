package squishspec

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// library is what the README's test calls: somebody else's code, which knows
// nothing of this module.
const library = `package mylib

import (
	"errors"
	"math"
)

type Quantizer struct {
	threshold             float64
	Calls, Weights, Zeros int
}

func New(threshold float64) (*Quantizer, error) {
	if !(threshold > 0) || math.IsInf(threshold, 1) {
		return nil, errors.New("threshold out of range")
	}
	return &Quantizer{threshold: threshold}, nil
}

func (q *Quantizer) Quantize(weights []float32) ([]int8, float32, error) {
	sum := 0.0
	for _, w := range weights {
		sum += math.Abs(float64(w))
	}
	scale := sum / float64(len(weights))
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		return nil, 0, errors.New("not finite, or empty")
	}
	codes := make([]int8, len(weights))
	for i, w := range weights {
		if math.Abs(float64(w)) > q.threshold*scale {
			codes[i] = int8(math.Copysign(1, float64(w)))
		} else {
			q.Zeros++
		}
	}
	q.Calls++
	q.Weights += len(weights)
	return codes, float32(scale), nil
}

func (q *Quantizer) Dequantize(codes []int8, scale float32) ([]float32, error) {
	if len(codes) == 0 || math.IsNaN(float64(scale)) || math.IsInf(float64(scale), 0) {
		return nil, errors.New("nothing to dequantize")
	}
	weights := make([]float32, len(codes))
	for i, c := range codes {
		if c < -1 || c > 1 {
			return nil, errors.New("no ternary code")
		}
		if c != 0 {
			weights[i] = float32(c) * scale
		}
	}
	return weights, nil
}

func (q *Quantizer) Sparsity() float64 {
	if q.Weights == 0 {
		return 0
	}
	return float64(q.Zeros) / float64(q.Weights)
}
`

// TestREADMEFromOutside compiles and runs the README's test in a module of its
// own, which requires this one, on a right library and on a wrong one.
func TestREADMEFromOutside(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if example == nil {
		t.Fatal("README.md has no Go example")
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The requirements of this module, so that nothing has to be looked up.
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	const own = "module github.com/squishspec/squishspec"
	if !strings.HasPrefix(string(mod), own) {
		t.Fatalf("go.mod does not begin with %q", own)
	}
	write("go.mod", []byte("module example.org/mylib"+strings.TrimPrefix(string(mod), own)+
		"\nrequire github.com/squishspec/squishspec v0.0.0\nreplace github.com/squishspec/squishspec => "+root+"\n"))
	write("go.sum", sum)
	write("mylib.go", []byte(library))
	write("mylib_test.go", example[1])
	run := func() (string, error) {
		cmd := exec.Command("go", "test", "-mod=mod", "-run", "TestConformance", "-v", ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "SQUISHSPEC_CHECKS=20")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err != nil || !strings.Contains(out, "; 1 of 28 modules") {
		t.Fatalf("a right library fails: %v\n%s", err, out)
	}
	write("mylib.go", []byte(strings.Replace(library, "> q.threshold*scale", "> 0.9*q.threshold*scale", 1)))
	if out, err := run(); err == nil || !strings.Contains(out, "FAIL: TestConformance/ternary-quant/threshold") {
		t.Fatalf("a wrong library passes, or fails otherwise: %v\n%s", err, out)
	}
}
