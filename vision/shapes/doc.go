// Package shapes draws labelled pictures, and has a small vision transformer that knows
// them: what a method costs in accuracy can be measured on as many as one wants.
//
// A picture is 28×28 pixels in grey: a disc, a ring, a square, a frame, a triangle full
// or open, a plus, a crescent, a bar or a pair of bars, somewhere, turned by any angle,
// 12 to 17 pixels large, with a few short strokes beside it and noise over it. Seeds
// below 2³² are the caller's; no training has seen their pictures.
//
// Model has 33,920 parameters: patches of 4×4 pixels, so 49 tokens, dim 32, hidden 64,
// 4 layers, 4 heads. It was trained on 5,000 steps of 32 pictures, each seen once, with
// AdamW in float32: learning rate 0.004 after 200 steps, half a cosine down to 0. Of
// 10,000 pictures that no training has seen it knows 99.83% (TINYLM_FULL=1 go test
// ./vision/shapes -run Knows -v).
//
// The file is made, bit by bit on amd64, in some ten minutes of one core, by
//
//	go run ./tools/tinylm --out vision/shapes --vision
package shapes
