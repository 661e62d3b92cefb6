package training

import (
	"fmt"
	"math/rand/v2"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
)

// Examples are the pictures of a step, n of them.
type Examples func(step, n int) []vision.Labelled

// Epochs goes through pictures again and again, each time in an order of its own.
func Epochs(pictures []vision.Labelled, seed uint64) Examples {
	epoch, order := -1, []int(nil)
	return func(step, n int) (examples []vision.Labelled) {
		for k := step * n; k < (step+1)*n; k++ {
			if e := k / len(pictures); e != epoch {
				epoch, order = e, rand.New(rand.NewPCG(seed, uint64(e))).Perm(len(pictures))
			}
			examples = append(examples, pictures[order[k%len(pictures)]])
		}
		return examples
	}
}

// pictures is the task of classes, a term a picture.
type pictures struct {
	*visionLayout
	examples Examples
	networks [shards]*visionNetwork[float32]
	patches  []spec.Matrix
	classes  []int
}

// NewVision begins a training of a model of some shape, from weights drawn by the
// recipe's seed. Pictures are of the grid of the config.
func NewVision(c vision.Config, r Recipe, examples Examples) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := newVisionLayout(c)
	k := &pictures{visionLayout: l, examples: examples}
	for i := range k.networks {
		k.networks[i] = newVisionNetwork[float32](l)
	}
	return newTrainer(k, &l.layout, l.initial(r.Seed), r), nil
}

func (k *pictures) draw(r Recipe, step int) (batch, error) {
	examples := k.examples(step, r.Batch)
	k.classes = k.classes[:0]
	k.patches = spec.Resize(k.patches, len(examples))
	for i, e := range examples {
		if err := vision.Patches(&k.patches[i], e.Picture, k.config.Patch); err != nil {
			return batch{}, err
		}
		if want := k.config.Grid * k.config.Grid; k.patches[i].Rows != want || e.Class < 0 || e.Class >= k.config.Classes {
			return batch{}, fmt.Errorf("example %d: %d patches of class %d, want %d and a class below %d", i, k.patches[i].Rows, e.Class, want, k.config.Classes)
		}
		k.classes = append(k.classes, e.Class)
	}
	return batch{examples: len(examples), terms: len(examples)}, nil
}

func (k *pictures) gradient(shard int, parameters, transposed, gradient []float32, i int) float64 {
	return k.networks[shard].gradient(parameters, transposed, gradient, k.patches[i].Data, k.classes[i])
}

func (k *pictures) file(parameters []float32) []byte {
	m := vision.Model{Config: k.config, Parameters: parameters}
	return m.Bytes()
}
