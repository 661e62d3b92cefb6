package main

import (
	"strings"
	"testing"
)

const (
	growthMachine = `{"type": "machine", "cpu": "a processor", "tier": "go", "date": "2026-01-02"}` + "\n"
	grown         = `{"type": "growth", "id": "a/b", "workload": "page", "sizes": [{"sides": "2×2", "ns": 5, "all_ns": 5}, {"sides": "4×4", "ns": 2000, "all_ns": 1000, "cores": 2, "speedup": 2, "memory": 1.5}], "exponent": 1.25}` + "\n"
	growthFooter  = `{"type": "footer", "rows": 1}` + "\n"
)

func TestGrowthShowsTheLargestSize(t *testing.T) {
	var out strings.Builder
	if err := growth(&out, []byte(growthMachine+grown+growthFooter)); err != nil {
		t.Fatal(err)
	}
	if want := "| `a/b`, page | 4×4 | 2 µs | 1 µs (2.0×, 2 cores) | 1.25 | 1.5× |  |\n"; !strings.Contains(out.String(), want) {
		t.Errorf("no line %q in\n%s", want, &out)
	}
}

func TestAMeasurementOfGrowthIsWhole(t *testing.T) {
	for name, data := range map[string]string{
		"no machine": grown + growthFooter, "nothing grown": growthMachine + growthFooter, "cut off": growthMachine + grown,
		"no JSON":     growthMachine + "{\n" + growthFooter,
		"a goroutine": growthMachine + strings.Replace(grown, `"exponent"`, `"goroutines": 1, "exponent"`, 1) + growthFooter,
	} {
		var out strings.Builder
		if err := growth(&out, []byte(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
