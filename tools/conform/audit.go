package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/tools/audit"
)

type auditCommand struct {
	Impl      string   `help:"The implementation whose methods are judged: ref or fast." enum:"ref,fast" default:"fast"`
	Data      string   `help:"Folder of real inputs (default: the embedded model and text)." placeholder:"DIR"`
	Model     string   `aliases:"base" help:"A llama2.c .bin file, or a Hugging Face folder, in place of the data's; --base is the same." placeholder:"PATH"`
	Tokenizer string   `help:"Its tokenizer (default: beside or in the model)." placeholder:"FILE"`
	Tuned     string   `help:"A fine-tune of the model, for delta compression." placeholder:"PATH"`
	Method    []string `help:"Only this method (may be repeated). The report is then incomplete." placeholder:"ID"`
	Claim     []string `help:"Only this claim, score or figure (may be repeated). The report is then incomplete." placeholder:"ID"`
	Questions int      `help:"Cloze questions." default:"500"`
	Seed      uint64   `help:"Seed of all random choices." default:"1"`
	JSON      string   `name:"json" help:"Write the report as lines of JSON; - is standard output." placeholder:"FILE"`
	Plot      string   `help:"Write a plot of quality against bytes, as SVG." placeholder:"FILE"`
	Pictures  string   `help:"Write pictures of the patches that are kept, as PNG." placeholder:"DIR"`
	List      bool     `help:"List methods and claims."`
}

// Run judges claims. The exit code is 0 whatever the verdicts, 1 where the audit
// cannot be trusted, 2 where what it was given is bad.
func (c *auditCommand) Run(s *session) error {
	if c.List {
		for _, m := range audit.Methods() {
			fmt.Fprintln(s.stdout, "method", m.ID)
		}
		for _, id := range audit.IDs() {
			fmt.Fprintln(s.stdout, "claim ", id)
		}
		return nil
	}
	if c.Questions < 1 {
		return misuse{spec.Reject(spec.Invalid, "audit", "--questions", "a number from 1", c.Questions)}
	}
	subject, err := c.subject()
	if err != nil {
		return misuse{err}
	}
	bar := newBar(s.stderr, 1)
	defer bar.finish()
	var impl spec.Implementation
	for _, own := range implementations {
		if own.name == c.Impl {
			impl = own.make()
		}
	}
	a, err := audit.New(s.ctx, audit.Options{
		Subject: subject, Implementation: impl, Seed: c.Seed, Data: c.Data, Pictures: c.Pictures, Questions: c.Questions, Arguments: c.arguments(),
		Progress: func(step string, done, all int) {
			if bar.shown() {
				bar.ChangeMax(all)
				bar.Describe(step)
				bar.Set(done)
			}
		},
	})
	if err != nil {
		return c.wrong(s, err)
	}
	report, err := a.Run(s.ctx, c.Method, c.Claim)
	if err != nil {
		return c.wrong(s, err)
	}
	bar.finish()
	out := s.stdout
	if c.JSON != "" {
		file, err := s.create(c.JSON)
		if err != nil {
			return err
		}
		defer file.Close()
		if c.JSON == "-" {
			out = s.stderr
		}
		if err := report.WriteNDJSON(file); err != nil {
			return err
		}
	}
	if c.Plot != "" {
		file, err := s.create(c.Plot)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := report.WritePlot(file); err != nil {
			return err
		}
	}
	return report.WriteText(out)
}

// wrong tells bad input, which is misuse, from an audit that cannot be trusted.
func (c *auditCommand) wrong(s *session, err error) error {
	if s.ctx.Err() != nil {
		return errors.New("audit: interrupted, no verdict")
	}
	if spec.KindOf(err) == spec.Invalid {
		return misuse{err}
	}
	return err
}

// arguments are those that choose what is judged, for the commands of findings.
func (c *auditCommand) arguments() string {
	var b strings.Builder
	for _, f := range []struct{ name, value string }{{"data", c.Data}, {"model", c.Model}, {"tokenizer", c.Tokenizer}, {"tuned", c.Tuned}} {
		if f.value != "" {
			fmt.Fprintf(&b, " --%s %s", f.name, f.value)
		}
	}
	if c.Impl != "fast" {
		fmt.Fprintf(&b, " --impl %s", c.Impl)
	}
	if c.Questions != 500 {
		fmt.Fprintf(&b, " --questions %d", c.Questions)
	}
	if c.Seed != 1 {
		fmt.Fprintf(&b, " --seed %d", c.Seed)
	}
	return b.String()
}

func (c *auditCommand) subject() (*audit.Subject, error) {
	if c.Data == "" {
		if c.Model != "" || c.Tuned != "" || c.Tokenizer != "" {
			return nil, spec.Reject(spec.Invalid, "audit", "--data", "a folder, whose texts judge the model", "none")
		}
		return audit.Embedded()
	}
	if info, err := os.Stat(c.Data); err != nil || !info.IsDir() {
		return nil, spec.Reject(spec.Invalid, "audit", "--data", "a folder", filepath.Clean(c.Data))
	}
	return audit.Files{Data: c.Data, Model: c.Model, Tokenizer: c.Tokenizer, Tuned: c.Tuned}.Load()
}
