// Conformancemd writes CONFORMANCE.md from the requirement table of package spec,
// and its tables of times from a measurement that is committed beside it. It runs in
// the root of the module, by go generate.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

const file = "CONFORMANCE.md"

func main() {
	log.SetFlags(0)
	log.SetPrefix("conformancemd: ")
	if _, err := os.Stat("go.mod"); err != nil || len(os.Args) > 1 {
		log.Fatal("takes no arguments, and runs in the root of the module only: go generate ./...")
	}
	var b bytes.Buffer
	write(&b)
	if err := speed(&b, benchFile, reasons); err != nil {
		log.Fatal(err)
	}
	if err := growth(&b, growthFile); err != nil {
		log.Fatal(err)
	}
	if err := claims(&b, embeddedAudit, dataAudit); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func write(w io.Writer) {
	fmt.Fprintf(w, `<!-- Written by tools/conformancemd from the requirement table of package spec and a measurement. Do not edit. -->

# Conformance

Specification %s: %d requirements of %d of the %d modules.

A requirement is checked by a property of package conformance; every check has been seen to fail on a mutant, a wrong
implementation that breaks just this requirement. Only a MUST decides the verdict. *u* is the implementation's unit
roundoff, 2⁻²⁴ for float32.

`, spec.Version, len(spec.Requirements()), len(spec.Modules()), len(spec.ModuleNames))
	for _, m := range spec.Modules() {
		module(w, m)
	}
}

func module(w io.Writer, m *spec.Module) {
	fmt.Fprintf(w, "## %s\n\n%s (wave %d).", m.Name, sentence(m.Summary), m.Wave)
	if len(m.Variants) > 0 {
		fmt.Fprintf(w, " Variants beside the documented one: %s.", code(m.Variants))
	}
	fmt.Fprint(w, "\n\nOperations: ")
	var operations []string
	for _, o := range m.Operations {
		name := "`" + o.Name + "`"
		if o.Optional {
			name += " (optional)"
		}
		operations = append(operations, name)
	}
	fmt.Fprintf(w, "%s.\n\n", strings.Join(operations, ", "))
	fmt.Fprintln(w, "| id | level | kind | requirement | tolerance, and why | beside ref | source |\n|---|---|---|---|---|---|---|")
	for _, r := range m.Requirements {
		text := r.Text
		if len(r.Needs) > 0 {
			text += " Needs " + code(r.Needs) + "."
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s: %s | %s | %s |\n", strings.TrimPrefix(r.ID, m.Name+"/"), r.Level, r.Kind,
			cell(text), cell(r.Tolerance), cell(r.Why), cell(second(r)), cell(r.Source))
	}
	fmt.Fprintln(w)
}

// second is the route beside ref: a law's is the law.
func second(r spec.Requirement) string {
	if r.Second == "" {
		return "the law itself"
	}
	return r.Second
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func code[S ~string](names []S) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "`" + string(n) + "`"
	}
	return strings.Join(quoted, ", ")
}

// cell escapes what would end a table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
