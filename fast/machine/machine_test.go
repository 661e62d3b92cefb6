package machine

import (
	"testing"
	"time"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

func TestEveryTierIsMeasured(t *testing.T) {
	before := kern.Active()
	all := Measure(time.Microsecond)
	if kern.Active() != before {
		t.Errorf("the tier in force is %s, was %s", kern.Active(), before)
	}
	found := false
	for _, l := range all {
		found = found || l.Tier == string(before)
		if l.Tier == "neon" {
			continue
		}
		if min(l.MulAdds, l.Exps, l.Logic, l.HashBlocks) <= 0 {
			t.Errorf("%s: not measured: %+v", l.Tier, l)
		}
		if len(l.Memory) != 4 {
			t.Fatalf("%s: %d levels of memory, want 4", l.Tier, len(l.Memory))
		}
		size := int64(0)
		for i, m := range l.Memory {
			if m.Read <= 0 || m.Write <= 0 || (m.Size <= size) != (i == 3) {
				t.Errorf("%s: %+v behind a level of %d bytes", l.Tier, m, size)
			}
			size = m.Size
		}
	}
	if !found || all[len(all)-1].Tier != "go" {
		t.Errorf("got the tiers of %+v, want %s among them and go last", all, before)
	}
}
