package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/squishspec/squishspec/conformance"
)

// growthFile is what conform bench --growth --json wrote.
//
//go:embed growth.ndjson
var growthFile []byte

// growth writes the section of a measurement of growth. One that was cut off, or of a
// call that left a goroutine behind, is refused.
func growth(w io.Writer, data []byte) error {
	var machine conformance.Machine
	var list []conformance.Growth
	whole := false
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		var line struct{ Type string }
		err := json.Unmarshal(lines.Bytes(), &line)
		switch line.Type {
		case "machine":
			err = errors.Join(err, json.Unmarshal(lines.Bytes(), &machine))
		case "growth":
			var g conformance.Growth
			err = errors.Join(err, json.Unmarshal(lines.Bytes(), &g))
			if g.Goroutines > 0 {
				err = errors.Join(err, fmt.Errorf("%s left %d goroutines behind", g.ID, g.Goroutines))
			}
			list = append(list, g)
		case "footer":
			whole = true
		}
		if err != nil {
			return fmt.Errorf("the measurement of growth, line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !whole || machine.CPU == "" || len(list) == 0 {
		return errors.New("the measurement of growth: want a machine, operations and a footer; it is cut off")
	}
	fmt.Fprintf(w, `### Growth

Measured on %s by `+"`conform bench --growth`"+` on %s, tier %s: operations on weights and attentions at their row's size,
at 16 and at 256 times the weights, sequences up to 4096 tokens. The exponent is the slope of log time over log operations
on one core: 1 where time grows as the operation count does. Memory is what a new instance's first call allocates, result
and scratch, over the input. No goroutine was left behind.

`, machine.Date, machine.CPU, machine.Tier)
	fmt.Fprint(w, "| operation | largest size | one core | all cores | exponent | memory | |\n|---|---|---|---|---|---|---|\n")
	for _, g := range list {
		last := g.Sizes[len(g.Sizes)-1]
		exponent := ""
		if g.Exponent != 0 {
			exponent = fmt.Sprintf("%.2f", g.Exponent)
		}
		fmt.Fprintf(w, "| `%s`, %s | %s | %s | %s (%.1f×, %d cores) | %s | %.1f× | %s |\n", g.ID, g.Workload, last.Sides, duration(last.NS),
			duration(last.AllNS), last.Speedup, last.Cores, exponent, last.Memory, cell(strings.TrimSpace(g.Stopped)))
	}
	fmt.Fprintln(w)
	return nil
}
