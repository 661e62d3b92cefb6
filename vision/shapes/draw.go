package shapes

import (
	"image"
	"math"
	"math/rand/v2"

	"github.com/squishspec/squishspec/vision"
)

// Side is that of a picture, in pixels.
const Side = 28

// Names are those of the classes, in order.
var Names = []string{"disc", "ring", "square", "frame", "triangle", "open triangle", "plus", "crescent", "bar", "pair of bars"}

// A shape is how far a point is outside: below 0 it is inside. Its size is 1, and a
// stroke's half width is given.
type shape func(x, y, stroke float64) float64

// box is a rectangle around the middle, of half sides a and b.
func box(x, y, a, b float64) float64 { return max(math.Abs(x)-a, math.Abs(y)-b) }

// corner is a triangle of equal sides around the middle.
func corner(x, y float64) float64 {
	return max(-y, y/2+math.Abs(x)*math.Sqrt(3)/2) - 0.5
}

var forms = [...]shape{
	func(x, y, _ float64) float64 { return math.Hypot(x, y) - 1 },
	func(x, y, t float64) float64 { return math.Abs(math.Hypot(x, y)-1) - t },
	func(x, y, _ float64) float64 { return box(x, y, 0.8, 0.8) },
	func(x, y, t float64) float64 { return math.Abs(box(x, y, 0.8, 0.8)) - t },
	func(x, y, _ float64) float64 { return corner(x, y) },
	func(x, y, t float64) float64 { return math.Abs(corner(x, y)) - t },
	func(x, y, t float64) float64 { return min(box(x, y, 1, t), box(x, y, t, 1)) },
	func(x, y, _ float64) float64 { return max(math.Hypot(x, y)-1, 0.75-math.Hypot(x-0.5, y)) },
	func(x, y, t float64) float64 { return box(x, y, 1, t) },
	func(x, y, t float64) float64 { return min(box(x, y-0.5, 1, t), box(x, y+0.5, 1, t)) },
}

// Draw draws n pictures of a seed, each of one shape somewhere, turned by any angle,
// with strokes that belong to nothing, and noise. The background is darker than the
// shape. Seeds below 2³² are the caller's: no training has seen their pictures.
func Draw(seed uint64, n int) []vision.Labelled {
	r := rand.New(rand.NewPCG(seed, 0x5ba9e5))
	drawn := make([]vision.Labelled, n)
	for i := range drawn {
		class := r.IntN(len(forms))
		drawn[i] = vision.Labelled{Picture: draw(r, forms[class]), Class: class}
	}
	return drawn
}

// An element is what is on a picture: a shape, where, how large, how far turned, and
// how much brighter than the background.
type element struct {
	form          shape
	x, y          float64
	size          float64
	sin, cos      float64
	stroke, light float64
}

func draw(r *rand.Rand, form shape) *image.Gray {
	between := func(low, high float64) float64 { return low + float64((high-low)*r.Float64()) }
	place := func(e element, margin float64) element {
		e.x, e.y = between(margin, Side-margin), between(margin, Side-margin)
		e.sin, e.cos = math.Sincos(between(0, 2*math.Pi))
		return e
	}
	background := between(0, 0.3)
	size := between(6, 8.5)
	elements := []element{place(element{form: form, size: size, stroke: between(0.9, 1.3) / size, light: between(0.5, 0.7)}, size+1)}
	for range 2 + r.IntN(3) {
		size := between(1, 2.5)
		e := place(element{form: forms[8], size: size, stroke: 0.6 / size, light: between(0.2, 0.5)}, 1)
		if math.Hypot(e.x-elements[0].x, e.y-elements[0].y) > elements[0].size+size+1 {
			elements = append(elements, e)
		}
	}
	picture := image.NewGray(image.Rect(0, 0, Side, Side))
	for i := range picture.Pix {
		x, y := float64(i%Side)+0.5, float64(i/Side)+0.5
		v := background
		for _, e := range elements {
			dx, dy := x-e.x, y-e.y
			outside := e.size * e.form((float64(dx*e.cos)+float64(dy*e.sin))/e.size, (float64(dy*e.cos)-float64(dx*e.sin))/e.size, e.stroke)
			v += float64(e.light * min(max(0.5-outside, 0), 1))
		}
		v += float64(0.03 * r.NormFloat64())
		picture.Pix[i] = uint8(math.RoundToEven(255 * min(max(v, 0), 1)))
	}
	return picture
}
