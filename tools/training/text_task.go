package training

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
)

// endOfText is the token behind a text: llama2.c's BOS, which begins the next one.
const endOfText = 1

// text is the task of paragraphs of a grammar, a term a token.
type text struct {
	*textLayout
	grammar    *tiny.Grammar
	vocabulary *llama.Vocabulary
	networks   [shards]*textNetwork[float32]
	texts      [][]int
}

// NewText begins a training of a model of some shape, from weights drawn by the
// recipe's seed.
func NewText(c llama.Config, r Recipe, g *tiny.Grammar, v *llama.Vocabulary) *Trainer {
	l := newTextLayout(c)
	return newText(l, l.initial(r.Seed), r, g, v)
}

// TuneText begins a training from a model whose head is its embedding.
func TuneText(m *llama.Model, r Recipe, g *tiny.Grammar, v *llama.Vocabulary) *Trainer {
	l, weights := parametersOf(m)
	return newText(l, weights, r, g, v)
}

func newText(l *textLayout, weights []float32, r Recipe, g *tiny.Grammar, v *llama.Vocabulary) *Trainer {
	k := &text{textLayout: l, grammar: g, vocabulary: v}
	for i := range k.networks {
		k.networks[i] = newTextNetwork[float32](l)
	}
	return newTrainer(k, &l.layout, weights, r)
}

func (k *text) draw(r Recipe, step int) (batch, error) {
	paragraphs := k.grammar.Paragraphs(r.Seed+uint64(step), r.Batch)
	b, logProb := batch{examples: len(paragraphs)}, 0.0
	k.texts = k.texts[:0]
	for _, p := range paragraphs {
		tokens := append(k.vocabulary.Encode(p), endOfText)
		k.texts = append(k.texts, tokens)
		b.terms += len(tokens) - 1
		if len(tokens) > k.config.Context+1 {
			return batch{}, fmt.Errorf("a paragraph has %d tokens, more than the context", len(tokens))
		}
		l, err := k.grammar.LogProb(p)
		if err != nil {
			return batch{}, err
		}
		logProb += l
	}
	b.bound = -logProb
	return b, nil
}

func (k *text) gradient(shard int, parameters, transposed, gradient []float32, example int) float64 {
	return k.networks[shard].gradient(parameters, transposed, gradient, k.texts[example])
}
