package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

type listCommand struct {
	What string `arg:"" optional:"" enum:"modules,requirements,rows,simd" default:"modules" help:"modules, requirements, rows, or simd: the vector instructions of this machine."`
}

func (c *listCommand) Run(s *session) error {
	w := tabwriter.NewWriter(s.stdout, 0, 4, 2, ' ', 0)
	defer w.Flush()
	switch c.What {
	case "modules":
		for _, name := range spec.ModuleNames {
			m := spec.ModuleByName(name)
			if m == nil {
				fmt.Fprintf(w, "%s\t\tnot specified yet\n", name)
				continue
			}
			fmt.Fprintf(w, "%s\t%d requirements\t%s\n", name, len(m.Requirements), m.Summary)
		}
	case "requirements":
		for _, r := range spec.Requirements() {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.ID, r.Level, r.Kind, r.Text)
		}
	case "rows":
		for _, r := range spec.Rows() {
			fmt.Fprintf(w, "%s\t%v %s\t%s\n", r.ID, r.Value, r.Unit, r.Label)
		}
	case "simd":
		for _, name := range fast.SIMDs() {
			fmt.Fprintln(w, name)
		}
	}
	return nil
}
