package tiny

import (
	"bytes"
	_ "embed"

	"github.com/squishspec/squishspec/llama"
)

var (
	//go:embed model.bin
	modelBin []byte
	//go:embed tuned.bin
	tunedBin []byte
)

// Model returns the embedded model, of Base. It is the caller's own.
func Model() (*llama.Model, error) {
	return llama.ReadLlama2C("tiny/model.bin", bytes.NewReader(modelBin), int64(len(modelBin)))
}

// Tuned returns the embedded model after a short training on Variant.
func Tuned() (*llama.Model, error) {
	return llama.ReadLlama2C("tiny/tuned.bin", bytes.NewReader(tunedBin), int64(len(tunedBin)))
}
