package main

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/tools/audit"
)

type perplexityCommand struct {
	Model      string `required:"" help:"A llama2.c .bin file, or a Hugging Face folder." placeholder:"PATH"`
	Tokenizer  string `help:"A tokenizer.bin of llama2.c, or a tokenizer.json of Llama 3 or Qwen2 (default: the one beside or in the model)." placeholder:"FILE"`
	Text       string `required:"" help:"The text, paragraphs between blank lines." placeholder:"FILE"`
	Paragraphs int    `help:"The first so many paragraphs; 0 is all." default:"300"`
	Float64    bool   `name:"float64" help:"Compute in float64, the reference, in place of float32."`
	Method     string `help:"Judge what this method of conform audit makes of the model, calibrated on the paragraphs behind those that judge." placeholder:"ID"`
}

// Run judges a model by the mean negative log-likelihood of a text. A file that is
// damaged or does not fit is misuse: there is no figure from a part.
func (c *perplexityCommand) Run(s *session) error {
	if c.Paragraphs < 0 {
		return misuse{spec.Reject(spec.Invalid, "perplexity", "--paragraphs", "a number from 0", c.Paragraphs)}
	}
	text, err := os.ReadFile(c.Text)
	if err != nil {
		return misuse{err}
	}
	paragraphs := llama.Paragraphs(string(text))
	if len(paragraphs) == 0 {
		return misuse{spec.Reject(spec.Invalid, "perplexity", "--text "+c.Text, "a paragraph", "none")}
	}
	all, rest := len(paragraphs), []string(nil)
	if c.Paragraphs > 0 {
		judged := min(all, c.Paragraphs)
		paragraphs, rest = paragraphs[:judged], paragraphs[judged:]
	}
	model, err := llama.Load(c.Model)
	if err != nil {
		return misuse{err}
	}
	path := c.Tokenizer
	if path == "" {
		if path, err = llama.TokenizerBeside(c.Model); err != nil {
			return misuse{err}
		}
	}
	tokenizer, err := llama.LoadTokenizer(path, model.Config.Vocab)
	if err != nil {
		return misuse{err}
	}

	changed := &audit.Variation{Model: model}
	if c.Method != "" {
		if c.Float64 {
			return misuse{spec.Reject(spec.Invalid, "perplexity", "--float64", "no --method, which computes in float32", c.Method)}
		}
		if changed, err = audit.Apply(s.ctx, fast.Implementation(), model, tokenizer, audit.Without(rest, paragraphs), c.Method); err != nil {
			return misuse{err}
		}
	}
	bar, precision := newBar(s.stdout, len(paragraphs)), "float32"
	var result llama.Perplexity
	if c.Float64 {
		precision = "float64"
		result, err = llama.MeasurePerplexity[float64](s.ctx, model, tokenizer, paragraphs, bar.one)
	} else {
		result, err = llama.MeasureHooked(s.ctx, changed.Model, changed.Hooks, tokenizer, paragraphs, bar.one)
	}
	bar.finish()
	if s.ctx.Err() != nil {
		return errors.New("perplexity: interrupted, no figure")
	}
	if err != nil {
		return misuse{fmt.Errorf("%s: %w", c.Model, err)}
	}
	if c.Method != "" {
		fmt.Fprintf(s.stdout, "after %s: %.3f bits a weight\n", c.Method, changed.BitsPerWeight())
	}
	fmt.Fprintf(s.stdout, "%s in %s on %d of %d paragraphs of %s\n", c.Model, precision, len(paragraphs), all, c.Text)
	if math.IsNaN(result.StdErr) {
		fmt.Fprintln(s.stdout, "standard error of nll: unknown from one paragraph")
	} else {
		fmt.Fprintf(s.stdout, "standard error of nll: %.5f (paragraphs as clusters)\n", result.StdErr)
	}
	fmt.Fprintf(s.stdout, "tokens=%d nll=%.5f ppl=%.4f\n", result.Tokens, result.NLL, result.Perplexity())
	return nil
}
