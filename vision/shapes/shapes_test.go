package shapes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"os"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
)

func TestTheWeightsAreThoseThatWereMeasured(t *testing.T) {
	const want = "8b5cf09b0c959d27799963a8b3fff3fbb9d83993bdea512d2d252e7a2288ad4c"
	if got := fmt.Sprintf("%x", sha256.Sum256(modelBin)); got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
	if len(modelBin) > 300_000 {
		t.Errorf("%d bytes, want at most 300 kB", len(modelBin))
	}
}

// TestTheModelKnowsShapes that no training has seen: 150 of them take a third of a
// second. TINYLM_FULL asks for the figures of the package's comment.
func TestTheModelKnowsShapes(t *testing.T) {
	m, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	n := 150
	if os.Getenv("TINYLM_FULL") != "" {
		n = 10_000
	}
	s := m.Session()
	var x spec.Matrix
	var taken [len(forms)][len(forms)]int
	known := 0
	for _, d := range Draw(1000, n) {
		if err := s.Embed(&x, d.Picture); err != nil {
			t.Fatal(err)
		}
		for i := range m.Layers {
			s.Layer(&x, i)
		}
		class := 0
		for i, v := range s.Logits(x) {
			if v > s.Logits(x)[class] {
				class = i
			}
		}
		taken[d.Class][class]++
		if class == d.Class {
			known++
		}
	}
	for i, row := range taken {
		t.Logf("%-14s %5d", Names[i], row)
	}
	t.Logf("%d of %d are known", known, n)
	if known*100 < n*97 {
		t.Errorf("%d of %d are known", known, n)
	}
}

func TestDrawIsOfItsSeed(t *testing.T) {
	one, same, other := Draw(1, 40), Draw(1, 50), Draw(2, 40)
	differ := 0
	seen := map[int]bool{}
	for i, d := range one {
		if d.Class != same[i].Class || !bytes.Equal(d.Picture.Pix, same[i].Picture.Pix) {
			t.Errorf("picture %d depends on how many are drawn", i)
		}
		if !bytes.Equal(d.Picture.Pix, other[i].Picture.Pix) {
			differ++
		}
		if d.Picture.Rect != image.Rect(0, 0, Side, Side) {
			t.Errorf("picture %d is of %v", i, d.Picture.Rect)
		}
		seen[d.Class] = true
	}
	if differ != 40 || len(seen) < 8 {
		t.Errorf("%d of 40 differ, of %d classes", differ, len(seen))
	}
	if len(Names) != len(forms) {
		t.Errorf("%d names of %d forms", len(Names), len(forms))
	}
}

// Every form is its own: a point that is inside of it and one that is not.
func TestForms(t *testing.T) {
	const stroke = 0.1
	for i, points := range [][2][2]float64{
		{{0, 0}, {0.8, 0.8}},       // disc
		{{0, 1.05}, {0, 0}},        // ring
		{{0.7, -0.7}, {0.9, 0}},    // square
		{{0.8, 0.7}, {0.6, 0}},     // frame
		{{0, 0}, {0, -0.6}},        // triangle, whose base is at −0.5
		{{0, -0.45}, {0, 0}},       // open triangle
		{{0.05, 0.9}, {0.3, 0.3}},  // plus
		{{-0.5, 0}, {0.3, 0}},      // crescent
		{{0.9, 0.05}, {0.5, 0.2}},  // bar
		{{0.9, -0.45}, {0.5, 0.1}}, // pair of bars
	} {
		if in, out := forms[i](points[0][0], points[0][1], stroke), forms[i](points[1][0], points[1][1], stroke); in > 0 || out < 0 {
			t.Errorf("%s: %v is %v outside, %v is %v outside", Names[i], points[0], in, points[1], out)
		}
	}
}

// The shape is not all there is: what is brighter than the background lies in few
// patches, and not in those of the shape alone.
func TestMostPatchesAreBackground(t *testing.T) {
	var p spec.Matrix
	for i, d := range Draw(3, 20) {
		if err := vision.Patches(&p, d.Picture, 4); err != nil {
			t.Fatal(err)
		}
		lit, darkest := 0, float32(2)
		for k := range p.Rows {
			darkest = min(darkest, mean(p.Row(k)))
		}
		for k := range p.Rows {
			if mean(p.Row(k)) > darkest+0.2 {
				lit++
			}
		}
		if lit < 2 || lit > 32 {
			t.Errorf("picture %d: %d of %d patches are lit", i, lit, p.Rows)
		}
	}
}

func mean(x []float32) (m float32) {
	for _, v := range x {
		m += v / float32(len(x))
	}
	return m
}
