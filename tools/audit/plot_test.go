package audit

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
)

// The plot is an XML document with a point for each method of weights, and none for
// the others.
func TestPlotHasAPointAMethod(t *testing.T) {
	row := func(module string, bits, nats float64) *Row {
		return &Row{Module: module, BitsPerWeight: bits, Worse: &Difference{By: nats}, NearestWorse: &Difference{}, Cloze: &Share{}}
	}
	r := &Report{Rows: []*Row{row("one", 4, 0.1), row("one", 2, 1), row("two", 3, -0.5), {Module: "three", Skipped: "no reason"}}}
	var b bytes.Buffer
	if err := r.WritePlot(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for d := xml.NewDecoder(&b); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for want, there := range map[string]bool{">one<": true, ">two<": true, ">three<": false} {
		if strings.Contains(text, want) != there {
			t.Errorf("%q is in the plot: %t, want %t", want, !there, there)
		}
	}
}

func TestParetoIsWhatNoneBeats(t *testing.T) {
	got := pareto(plotter.XYs{{X: 4, Y: 1}, {X: 2, Y: 3}, {X: 3, Y: 3}, {X: 8, Y: 0}, {X: 5, Y: 2}})
	want := plotter.XYs{{X: 2, Y: 3}, {X: 4, Y: 1}, {X: 8, Y: 0}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
