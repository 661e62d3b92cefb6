package vision

import (
	"fmt"
	"image"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// A Labelled is a picture and the class it is of.
type Labelled struct {
	Picture *image.Gray
	Class   int
}

// Patches cuts a picture into patches, row by row: (patches, size²), black −1 and white
// 1. A side that is no multiple of size is Invalid.
func Patches(dst *spec.Matrix, picture *image.Gray, size int) error {
	across, down := picture.Rect.Dx()/size, picture.Rect.Dy()/size
	if across < 1 || down < 1 || picture.Rect.Dx() != across*size || picture.Rect.Dy() != down*size {
		return reject("picture", fmt.Sprintf("sides that are multiples of %d", size), fmt.Sprintf("%d×%d", picture.Rect.Dx(), picture.Rect.Dy()))
	}
	dst.Resize(across*down, size*size)
	for i := range dst.Rows {
		for y := range size {
			at := picture.PixOffset(picture.Rect.Min.X+i%across*size, picture.Rect.Min.Y+i/across*size+y)
			for x, v := range picture.Pix[at:][:size] {
				dst.Row(i)[y*size+x] = (float32(v) - 127.5) / 127.5
			}
		}
	}
	return nil
}

// Positions are what is added to the tokens of a picture of across × down patches, row
// by row: sines and cosines of the place along both axes, of the trained grid, onto
// which any other is stretched.
func (c Config) Positions(across, down int) spec.Matrix {
	p := spec.Matrix{Rows: across * down, Cols: c.Dim, Data: make([]float32, across*down*c.Dim)}
	for i := range p.Rows {
		for axis, place := range []float64{
			(float64(i%across) + 0.5) / float64(across) * float64(c.Grid),
			(float64(i/across) + 0.5) / float64(down) * float64(c.Grid),
		} {
			for k := range c.Dim / 4 {
				sin, cos := math.Sincos(2 * place * math.Pow(2, -float64(k)/2))
				at := axis*c.Dim/2 + 2*k
				p.Row(i)[at], p.Row(i)[at+1] = float32(sin), float32(cos)
			}
		}
	}
	return p
}
