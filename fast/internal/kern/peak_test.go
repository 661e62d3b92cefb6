package kern

import "testing"

func TestPeaksDoWhatTheySay(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		each := PeakMulAdds(1)
		for _, rounds := range []int{0, 1, 2, 3, 1000, 10_000} {
			if got := PeakMulAdds(rounds); got != each*float32(rounds) || each < 8 {
				t.Errorf("%d rounds: %v multiply-adds, want %v each", rounds, got, each)
			}
			if got := PeakAdds(rounds); got != PeakAdds(1)*uint32(rounds) || PeakAdds(1) < 8 {
				t.Errorf("%d rounds: %v additions, want %v each", rounds, got, PeakAdds(1))
			}
		}
	})
}

func TestPeakReadReadsAll(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		x := take[uint32](m, n)
		clear(x)
		if got := PeakRead(x, 2); got != 0 {
			t.Errorf("of zeros: got %x", got)
		}
		if n == 0 {
			return
		}
		for range 4 {
			x[m.r.IntN(n)] |= 1 << m.r.IntN(32)
		}
		x[n-1] |= 1 << 31
		for rounds, want := range []uint32{0, peakReadGo(x), peakReadGo(x)} {
			if got := PeakRead(x, rounds); got != want {
				t.Errorf("%d rounds: got %x, want %x", rounds, got, want)
			}
		}
	})
}

func TestPeakWriteWritesAll(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		x := take[uint32](m, n)
		v := m.r.Uint32()
		PeakWrite(x, 1+n%2, v)
		for i, got := range x {
			if got != v {
				t.Errorf("x[%d] = %x, want %x", i, got, v)
				return
			}
		}
	})
}
