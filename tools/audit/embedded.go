package audit

import "github.com/squishspec/squishspec/llama/tiny"

// How much text of the embedded language is drawn: enough to judge by, and to
// calibrate the widest matrix on. A seed is disjoint text.
const (
	tinyJudged     = 150
	tinyClozes     = 1000
	tinyCalibrated = 60

	seedJudged, seedClozes, seedCalibrated, seedTuned = 101, 102, 103, 104
)

// Embedded returns the subject that needs no files: package tiny's model, its
// fine-tune, and text of its language.
func Embedded() (*Subject, error) {
	model, err := tiny.Model()
	if err != nil {
		return nil, err
	}
	tuned, err := tiny.Tuned()
	if err != nil {
		return nil, err
	}
	vocabulary, err := tiny.Vocabulary()
	if err != nil {
		return nil, err
	}
	judging := tiny.Base.Paragraphs(seedJudged, tinyJudged)
	clozes := tiny.Base.Paragraphs(seedClozes, tinyClozes)
	calibration := Without(Without(tiny.Base.Paragraphs(seedCalibrated, tinyCalibrated), judging), clozes)
	return &Subject{
		Name: "tiny", Model: model, Tokenizer: vocabulary,
		Calibration: calibration, Evaluation: judging, Clozes: clozes,
		Tuned: tuned, TunedEvaluation: tiny.Variant.Paragraphs(seedTuned, tinyJudged),
	}, nil
}
