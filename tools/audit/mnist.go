package audit

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"

	"github.com/squishspec/squishspec/tools/training"
	"github.com/squishspec/squishspec/vision"
)

// The files of MNIST's digits below a data folder, and the side of one in pixels.
const (
	dataDigits      = "mnist/t10k-images-idx3-ubyte.gz"
	dataDigitLabels = "mnist/t10k-labels-idx1-ubyte.gz"
	digitSide       = 28
	digitClasses    = 10
)

// Fewest and most digits that are read: what fewer would teach and test says nothing,
// and a file that says it has more is not unpacked.
const (
	fewestDigits = 10
	mostDigits   = 100_000
)

// readDigits reads MNIST's. Its errors name the file; one that is not there is
// fs.ErrNotExist.
func readDigits(dir string) ([]vision.Labelled, error) {
	pixels, n, err := readIDX(dir, dataDigits, digitSide, digitSide)
	if err != nil {
		return nil, err
	}
	labels, labelled, err := readIDX(dir, dataDigitLabels)
	if err != nil {
		return nil, err
	}
	if labelled != n {
		return nil, reject(dataDigitLabels, fmt.Sprintf("%d labels, one for each of %s", n, dataDigits), labelled)
	}
	digits := make([]vision.Labelled, n)
	for i := range digits {
		if labels[i] >= digitClasses {
			return nil, reject(fmt.Sprintf("%s, label %d", dataDigitLabels, i+1), "a digit", labels[i])
		}
		const size = digitSide * digitSide
		digits[i] = vision.Labelled{
			Picture: &image.Gray{Pix: pixels[i*size:][:size:size], Stride: digitSide, Rect: image.Rect(0, 0, digitSide, digitSide)},
			Class:   int(labels[i]),
		}
	}
	return digits, nil
}

// readIDX unpacks a file of bytes in MNIST's format: a number whose last byte is how
// many axes there are, their lengths, of which the first is free, and the bytes.
func readIDX(dir, name string, shape ...int) (data []byte, n int, err error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return nil, 0, reject(name, "a gzip file", err)
	}
	header := make([]uint32, 2+len(shape))
	if err := binary.Read(unpacked, binary.BigEndian, header); err != nil {
		return nil, 0, reject(name, fmt.Sprintf("a header of %d bytes", 4*len(header)), err)
	}
	if magic := uint32(0x801 + len(shape)); header[0] != magic {
		return nil, 0, reject(name, fmt.Sprintf("the magic number %#08x", magic), fmt.Sprintf("%#08x", header[0]))
	}
	if header[1] < fewestDigits || header[1] > mostDigits {
		return nil, 0, reject(name, fmt.Sprintf("%d to %d digits", fewestDigits, mostDigits), header[1])
	}
	n = int(header[1])
	want := n
	for i, side := range shape {
		if header[2+i] != uint32(side) {
			return nil, 0, reject(name, fmt.Sprintf("pictures of %d×%d", digitSide, digitSide), fmt.Sprint(header[2:]))
		}
		want *= side
	}
	data, err = io.ReadAll(io.LimitReader(unpacked, int64(want)+1))
	if err != nil {
		return nil, 0, reject(name, fmt.Sprintf("%d bytes behind the header", want), err)
	}
	if len(data) != want {
		got := fmt.Sprint(len(data))
		if len(data) > want {
			got = "more"
		}
		return nil, 0, reject(name, fmt.Sprintf("%d bytes behind the header", want), got)
	}
	return data, n, nil
}

// digitEpochs is how often each digit is learnt from.
const digitEpochs = 5

// digitShape is that of the embedded model, too.
var digitShape = vision.Config{Patch: 4, Grid: digitSide / 4, Dim: 32, Hidden: 64, Layers: 4, Heads: 4, Classes: digitClasses}

// learnDigits trains a model. The same digits and the same seed give the same model, bit
// by bit on amd64.
func learnDigits(ctx context.Context, digits []vision.Labelled, seed uint64) (*vision.Model, error) {
	r := training.Recipe{Seed: seed, Batch: 16, Peak: 3e-3, Decay: 0.05, Beta1: 0.9, Beta2: 0.98, Clip: 1}
	r.Steps = max(1, digitEpochs*len(digits)/r.Batch)
	r.Warmup = r.Steps / 20
	t, err := training.NewVision(digitShape, r, training.Epochs(digits, seed))
	if err != nil {
		return nil, err
	}
	for t.Step < r.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := t.Next(); err != nil {
			return nil, fmt.Errorf("learning digits: %w", err)
		}
	}
	return vision.Parse("digits", t.File())
}
