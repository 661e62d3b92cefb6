package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
)

const smallArrivals = "TIMESTAMP,ContextTokens,GeneratedTokens\n" +
	"2023-11-16 23:59:59.5000000,374,44\n" +
	"2023-11-17 00:00:01.7500000,9,0\n"

func TestArrivalsAreRead(t *testing.T) {
	dir := t.TempDir()
	spoil(t, dir, dataArrivals, smallArrivals)
	trace, err := readArrivals(dir)
	if got := fmt.Sprint(trace); err != nil || got != "[{0 374 0} {2.25 9 0}]" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestWhereNobodyWaitsTheNoteSaysSo(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	spoil(t, a.Data, dataArrivals, smallArrivals)
	f := &Finding{}
	if err := batchWaiting(context.Background(), a, f); err != nil || strings.Contains(f.Note, "NaN") || strings.Contains(f.Note, "Inf") || !strings.Contains(f.Note, "nobody waits, and it adds") {
		t.Errorf("%v: %s", err, f.Note)
	}
}

func TestArrivalsAreChecked(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(batchWaiting).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("no file: %v, %v", err, f.Verdict)
	}
	for _, c := range []struct{ text, where string }{
		{"", "want lines"},
		{"time,in,out\n", "line 1: audit: header"},
		{strings.Join(strings.SplitAfter(smallArrivals, "\n")[1:], ""), "line 1: audit: header"},
		{strings.Join(strings.SplitAfter(smallArrivals, "\n")[:1], ""), "requests of two times"},
		{strings.Join(strings.SplitAfter(smallArrivals, "\n")[:2], ""), "requests of two times"},
		{smallArrivals + "2023-11-17 00:00:02,1\n", "line 4: audit: line"},
		{smallArrivals + "2023-11-17 00:00:02,1,1,1\n", "line 4: audit: line"},
		{smallArrivals + "\n", "line 4: audit: line"},
		{smallArrivals + "2023-11-17 00:00:01.74,1,1\n", "line 4: audit: TIMESTAMP: want 2023-11-17 00:00:01.7500000 or later"},
		{smallArrivals + "17.11.2023,1,1\n", "line 4: audit: TIMESTAMP"},
		{smallArrivals + "2023-11-17 00:00:02,0,1\n", "line 4: audit: ContextTokens"},
		{smallArrivals + "2023-11-17 00:00:02,-7,1\n", "line 4: audit: ContextTokens"},
		{smallArrivals + "2023-11-17 00:00:02,many,1\n", "line 4: audit: ContextTokens"},
		{smallArrivals + "2023-11-17 00:00:02,99999999,1\n", "line 4: audit: ContextTokens"},
		{smallArrivals + "2023-11-17 00:00:02,1,-1\n", "line 4: audit: GeneratedTokens"},
		{smallArrivals + "2023-11-17 00:00:02,1,1.5\n", "line 4: audit: GeneratedTokens"},
	} {
		spoil(t, a.Data, dataArrivals, c.text)
		f := &Finding{}
		err := batchWaiting(context.Background(), a, f)
		refused(t, f, err, c.where)
		if err != nil && !strings.Contains(err.Error(), dataArrivals) {
			t.Errorf("%v, want %s", err, dataArrivals)
		}
	}
}

func TestAShareIsOfVision(t *testing.T) {
	trace := drawArrivals(1)
	mixed, vision := withVision(trace, 0.3, 1), 0
	for i, r := range mixed {
		if r.at != trace[i].at || r.text != trace[i].text || r.text < 1 || i > 0 && r.at < mixed[i-1].at {
			t.Fatalf("%d: %v of %v", i, r, trace[i])
		}
		if vision += r.modality(); r.vision != 0 && (r.vision < fewestVision || r.vision > mostVision) {
			t.Fatalf("%v", r)
		}
	}
	if share := float64(vision) / float64(len(mixed)); share < 0.27 || share > 0.33 {
		t.Errorf("%v of vision", share)
	}
	if got := scaled([]arrival{{2, 3, 4}}, 0.5); got[0] != (arrival{1, 3, 4}) {
		t.Errorf("%v", got)
	}
}
