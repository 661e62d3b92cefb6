package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/squishspec/squishspec/llama"
)

// How much of the real text is judged and calibrated on: the protocol's paragraphs,
// and the last of all, which no question is of either.
const (
	judged     = 300
	calibrated = 300
)

// The files of a data folder that make a subject.
const (
	dataModel     = "stories260K/stories260K.bin"
	dataTuned     = "stories260K_ft/stories260K-ft-gsm8k.bin"
	dataTokenizer = "stories260K/tok512.bin"
	dataText      = "text/tinystories_val_794k.txt"
	dataTunedText = "cot/gsm8k_test.jsonl"
)

// Files are what a subject of real inputs is made of. What is empty is the data
// folder's.
type Files struct {
	Data                    string
	Model, Tokenizer, Tuned string
}

// Load makes a subject of files. Its errors name the file.
func (f Files) Load() (*Subject, error) {
	at := func(given, name string) string {
		if given != "" {
			return given
		}
		return filepath.Join(f.Data, filepath.FromSlash(name))
	}
	own := f.Model == ""
	path := at(f.Model, dataModel)
	s := &Subject{Name: strings.TrimSuffix(filepath.Base(path), ".bin")}
	var err error
	if s.Model, err = llama.Load(path); err != nil {
		return nil, err
	}
	tokenizer := f.Tokenizer
	if tokenizer == "" && !own {
		if tokenizer, err = llama.TokenizerBeside(path); err != nil {
			return nil, err
		}
	}
	if s.Tokenizer, err = llama.LoadTokenizer(at(tokenizer, dataTokenizer), s.Model.Config.Vocab); err != nil {
		return nil, err
	}
	if f.Tuned != "" || own {
		if s.Tuned, err = llama.Load(at(f.Tuned, dataTuned)); err != nil {
			return nil, err
		}
		if s.TunedEvaluation, err = solutions(f.Data); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(at("", dataText))
	if err != nil {
		return nil, err
	}
	paragraphs := llama.Paragraphs(string(text))
	if len(paragraphs) < judged+calibrated {
		return nil, reject(at("", dataText), fmt.Sprintf("%d paragraphs", judged+calibrated), len(paragraphs))
	}
	rest := len(paragraphs) - calibrated
	s.Evaluation, s.Clozes = paragraphs[:judged], paragraphs[:rest]
	s.Calibration = Without(paragraphs[rest:], s.Clozes)
	return s, nil
}

// Without returns the paragraphs that are not among others: a text says some things
// twice.
func Without(paragraphs, others []string) (rest []string) {
	seen := map[string]bool{}
	for _, p := range others {
		seen[p] = true
	}
	for _, p := range paragraphs {
		if !seen[p] {
			rest = append(rest, p)
		}
	}
	return rest
}

// marks are what GSM8K's answers have for a calculator, and before the last line.
var marks = regexp.MustCompile(`<<[^>]*>>|#### `)

// solutions reads questions with their worked answers, a paragraph each, without
// the marks that no text has.
func solutions(dir string) (paragraphs []string, err error) {
	err = eachLine(dir, dataTunedText, func(_ int, line []byte) error {
		question, answer, err := questionAndAnswer(line)
		if err == nil && len(paragraphs) < judged {
			paragraphs = append(paragraphs, marks.ReplaceAllString(question+" "+answer, ""))
		}
		return err
	})
	return paragraphs, err
}
