package audit

import (
	"image"
	"math/rand/v2"
)

// drawnScene stands in for a photograph: a slope of grey, plain at the top, with ever more
// bars towards the bottom, and grain.
func drawnScene(r *rand.Rand, width, height int) *image.Gray {
	scene := image.NewGray(image.Rect(0, 0, width, height))
	base, across, down := 96+r.IntN(32), r.IntN(32), r.IntN(32)
	for y := range height {
		for x := range width {
			scene.Pix[y*width+x] = uint8(base + across*x/width + down*y/height)
		}
	}
	for range width * height / 48 {
		left, top, grey := r.IntN(width), height-1-r.IntN(1+r.IntN(height)), uint8(16+r.IntN(224))
		right, bottom := min(width, left+2+r.IntN(8)), min(height, top+2+r.IntN(8))
		for y := top; y < bottom; y++ {
			for x := left; x < right; x++ {
				scene.Pix[y*width+x] = grey
			}
		}
	}
	grain(r, scene.Pix)
	return scene
}

// grain makes each pixel a level brighter or darker, or leaves it, as a sensor does.
// Pixels are above 0 and below 255.
func grain(r *rand.Rand, pixels []uint8) {
	for i := range pixels {
		pixels[i] += uint8(r.IntN(3)) - 1
	}
}
