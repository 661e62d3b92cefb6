package spec

import "testing"

func TestLimitsAreTheRoofline(t *testing.T) {
	l := Limits{MulAdds: 100, Exps: 10, Logic: 50, HashBlocks: 0.02, Memory: []Bandwidth{
		{"L1", 1000, 400, 200}, {"L2", 10_000, 200, 210}, {"DRAM", 0, 40, 30},
	}}
	for _, c := range []struct {
		what string
		cost Cost
		want float64
	}{
		{"nothing", Cost{}, 0},
		{"operations one after the other", Cost{MulAdds: 1000, Exps: 30, Logic: 100, HashBlocks: 1, Bytes: 8}, 10 + 3 + 2 + 50},
		{"bytes of L1", Cost{MulAdds: 100, Bytes: 1000}, 2.5},
		{"a byte too many for L1", Cost{MulAdds: 100, Bytes: 1050}, 5},
		{"bytes of no cache", Cost{Bytes: 40_000}, 1000},
		{"bytes read again", Cost{Bytes: 1000, Reread: 1000}, 5},
		{"operations outlast bytes", Cost{MulAdds: 300, Bytes: 1000}, 3},
	} {
		if got := l.Time(c.cost); got != c.want {
			t.Errorf("%s: %v ns, want %v", c.what, got, c.want)
		}
	}
	if got := (&Limits{}).Time(Cost{MulAdds: 1, Exps: 1, Bytes: 1}); got != 0 {
		t.Errorf("without limits: %v ns, want 0", got)
	}
}
