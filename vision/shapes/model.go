package shapes

import (
	_ "embed"

	"github.com/squishspec/squishspec/vision"
)

//go:embed model.bin
var modelBin []byte

// Model returns the embedded model. It is the caller's own.
func Model() (*vision.Model, error) { return vision.Parse("shapes/model.bin", modelBin) }
