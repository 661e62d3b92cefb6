package main

import (
	"strings"
	"testing"
)

const audited = `{"type": "audit", "subject": "a model", "complete": true, "cloze": {"of": 4, "share": 0.5}}
{"type": "method", "method": "m/1", "bytes": 12, "formula_bytes": 12, "bits_per_weight": 4, "ratio_to_fp16": 4, "perplexity": 2, "worse": {"by": 0.25, "interval": {"low": 0.125, "high": 0.5}}}
{"type": "method", "method": "m/2", "skipped": "no fine-tune"}
{"type": "finding", "id": "a-claim", "claim": "4× | vs FP16", "verdict": "refuted", "figure": 3.85, "unit": "×", "exact": true, "note": "why", "curve": {"columns": ["n", "x %"], "rows": [[1000, 0.123456]]}, "command": "conform audit --claim a-claim"}
`

func TestClaimsHaveVerdictAndCommand(t *testing.T) {
	var out strings.Builder
	real := strings.NewReplacer("a model", "another", "refuted", "supported", "3.85", "4").Replace(audited)
	if err := claims(&out, []byte(audited), []byte(real)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| claim | on a model | on another |\n|---|---|---|\n| `a-claim`: 4× \\| vs FP16 | **refuted**, 3.85 ×, counted | **supported**, 4 ×, counted |\n",
		"### On a model\n", "### On another\n", "cloze 50.0% (0.0…0.0) of",
		"| `a-claim`: 4× \\| vs FP16 | refuted | 3.85 ×, counted | why | `conform audit --claim a-claim` |\n",
		"\n`a-claim`:\n\n| n | x % |\n|---:|---:|\n| 1000 | 0.1235 |\n",
		"| `m/1` | 12 = 12 | 4.000 | 4.00 | 2 | +0.250 (+0.125…+0.500) |  |  |  |\n",
		"| `m/2` | | | | | | | | not judged: no fine-tune |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestAnAuditIsComplete(t *testing.T) {
	for name, data := range map[string]string{
		"a part": strings.Replace(audited, `"complete": true`, `"complete": false`, 1), "nothing": "",
		"an unknown line": audited + `{"type": "other"}`, "no JSON": audited + "{",
	} {
		var out strings.Builder
		if err := claims(&out, []byte(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := claims(new(strings.Builder), []byte(audited), []byte(strings.Replace(audited, "a-claim", "b-claim", 1))); err == nil {
		t.Error("reports of other claims: accepted")
	}
}
