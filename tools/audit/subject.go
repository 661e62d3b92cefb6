package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// A Subject is a model and the texts that it is calibrated on and judged by.
type Subject struct {
	Name      string
	Model     *llama.Model
	Tokenizer llama.Tokenizer
	// Paragraphs that methods look at, and those that judge: none is in both.
	Calibration, Evaluation []string
	// Tuned is a fine-tune of the model, for delta compression, and TunedEvaluation
	// paragraphs of what it was tuned on. Nil where there is none.
	Tuned           *llama.Model
	TunedEvaluation []string
}

// Validate rejects a subject that could not be judged fairly.
func (s *Subject) Validate() error {
	if len(s.Calibration) == 0 || len(s.Evaluation) == 0 {
		return reject("text", "paragraphs to calibrate on and others to judge by",
			fmt.Sprintf("%d and %d", len(s.Calibration), len(s.Evaluation)))
	}
	seen := map[string]bool{}
	for _, p := range s.Calibration {
		seen[p] = true
	}
	for i, p := range s.Evaluation {
		if seen[p] {
			return reject(fmt.Sprintf("evaluation paragraph %d", i+1), "one that is not calibrated on", fmt.Sprintf("%.40q", p))
		}
	}
	if s.Tokenizer.Size() != s.Model.Config.Vocab {
		return reject("tokenizer", fmt.Sprintf("the model's %d tokens", s.Model.Config.Vocab), s.Tokenizer.Size())
	}
	return nil
}

func reject(name, want string, got any) error {
	return spec.Reject(spec.Invalid, "audit", name, want, got)
}
