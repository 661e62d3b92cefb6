package audit

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama"
)

func TestSmoke(t *testing.T) {
	d := "../../../shared/data/"
	m, err := llama.Load(d + "stories260K/stories260K.bin")
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := llama.Load(d + "stories260K_ft/stories260K-ft-gsm8k.bin")
	if err != nil {
		t.Fatal(err)
	}
	v, err := llama.LoadVocabulary(d + "stories260K/tok512.bin")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(d + "text/tinystories_val_794k.txt")
	ps := llama.Paragraphs(string(text))
	s := &Subject{Name: "stories260K", Model: m, Tuned: tuned, Tokenizer: v, Evaluation: ps[:60], Calibration: ps[2000:]}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := collect(s)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("samples", a[0][0].Rows)
	j := &job{s, fast.Implementation(), a, 1}
	qs := Questions(ps[:2000], 60, 1)
	base, err := judge(context.Background(), &Variation{Model: m}, v, s.Evaluation, qs)
	if err != nil {
		t.Fatal(err)
	}
	acc, i := base.Accuracy()
	fmt.Println("base", base.Perplexity.NLL, acc, i)
	for _, meth := range append(Methods(), nearest{4, 0}.method(), nearest{1, 0}.method(), nearest{3, 32}.method()) {
		began := time.Now()
		va, err := meth.run(context.Background(), j)
		if err != nil {
			fmt.Println(meth.ID, err)
			continue
		}
		took := time.Since(began)
		q, err := judge(context.Background(), va, v, s.Evaluation, qs)
		if err != nil {
			fmt.Println(meth.ID, err)
			continue
		}
		w, wi := q.worse(base, 1)
		acc, _ := q.Accuracy()
		fmt.Printf("%-40s %6.3f bits %5.2fx nll %.3f  %+.3f %v cloze %.2f  %v %v %v\n", meth.ID, va.BitsPerWeight(), va.RatioToFP16(), q.Perplexity.NLL, w, wi.Text("%.3f"), acc, sameBytes(m.Places(), max(va.Bytes, 1)), took, time.Since(began)-took)
	}
}
