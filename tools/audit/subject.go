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
	// Calibration are the paragraphs that methods look at. Evaluation are those that
	// judge, and Clozes those that questions are made of: none is calibrated on.
	Calibration, Evaluation, Clozes []string
	// Tuned is a fine-tune of the model, for delta compression, and TunedEvaluation
	// paragraphs of what it was tuned on. Nil where there is none.
	Tuned           *llama.Model
	TunedEvaluation []string
}

// Validate rejects a subject that could not be judged fairly.
func (s *Subject) Validate() error {
	if len(s.Calibration) == 0 || len(s.Evaluation) == 0 || len(s.Clozes) == 0 {
		return reject("text", "paragraphs to calibrate on and others to judge by",
			fmt.Sprintf("%d, %d and %d", len(s.Calibration), len(s.Evaluation), len(s.Clozes)))
	}
	seen := map[string]bool{}
	for _, p := range s.Calibration {
		seen[p] = true
	}
	for _, judging := range []struct {
		name       string
		paragraphs []string
	}{{"evaluation", s.Evaluation}, {"cloze", s.Clozes}} {
		for i, p := range judging.paragraphs {
			if seen[p] {
				return reject(fmt.Sprintf("%s paragraph %d", judging.name, i+1), "one that is not calibrated on", fmt.Sprintf("%.40q", p))
			}
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
