package kern

import (
	"slices"
	"testing"
)

func TestNibbles(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		codes, packed, want := take[uint8](m, n), take[uint8](m, (n+1)/2), make([]uint8, (n+1)/2)
		for i := range codes {
			codes[i] = uint8(m.r.IntN(16))
			want[i/2] |= codes[i] << (4 * (i % 2))
		}
		if fit := PackNibbles(packed, codes); !fit || !slices.Equal(packed, want) {
			t.Errorf("fit %v; packed rightly: %v", fit, slices.Equal(packed, want))
		}
		back, signed := take[uint8](m, n), take[int8](m, n)
		UnpackNibbles(back, packed)
		UnpackNibbles(signed, packed)
		again := take[uint8](m, (n+1)/2)
		if PackNibbles(again, signed); !slices.Equal(again, packed) {
			t.Errorf("signed codes are packed otherwise")
		}
		for i, c := range codes {
			if back[i] != c || signed[i] != int8(c<<4)>>4 {
				t.Errorf("code %d came back as %d and %d", c, back[i], signed[i])
				break
			}
		}
		if n > 0 {
			at := m.r.IntN(n)
			codes[at] |= 16 << m.r.IntN(4)
			if PackNibbles(packed, codes) || !slices.Equal(packed, want) {
				t.Errorf("%d fits, or does not leave its neighbours alone", codes[at])
			}
		}
	})
}

func TestTernaryPacking(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		codes, packed, want := take[int8](m, n&^3), take[uint8](m, n/4), make([]uint8, n/4)
		for i := range codes {
			codes[i] = int8(m.r.IntN(3) - 1)
			want[i/4] |= uint8(codes[i]+1) << (2 * (i % 4))
		}
		if legal := PackTernary(packed, codes); !legal || !slices.Equal(packed, want) {
			t.Errorf("legal %v; packed rightly: %v", legal, slices.Equal(packed, want))
		}
		back := take[int8](m, n&^3)
		if legal := UnpackTernary(back, packed); !legal || !slices.Equal(back, codes) {
			t.Errorf("legal %v; unpacked rightly: %v", legal, slices.Equal(back, codes))
		}
		if len(codes) > 0 {
			at := m.r.IntN(len(codes))
			packed[at/4] |= 3 << (2 * (at % 4))
			if UnpackTernary(back, packed) {
				t.Errorf("byte %08b passes", packed[at/4])
			}
			codes[at] = []int8{2, -2, 127, -128}[m.r.IntN(4)]
			if PackTernary(packed, codes) {
				t.Errorf("code %d passes", codes[at])
			}
		}
	})
}
