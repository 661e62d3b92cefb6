package ternary

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBoundIsTheLargestFloat32NotAbove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threshold := math.Float64frombits(rapid.Uint64Range(0, math.Float64bits(math.Inf(1))).Draw(t, "bits"))
		if rapid.Bool().Draw(t, "near a float32") {
			near := float64(math.Float32frombits(rapid.Uint32Range(0, 0x7f800000).Draw(t, "float32")))
			threshold = math.Abs(math.Nextafter(near, rapid.SampledFrom([]float64{near, 0, math.Inf(1)}).Draw(t, "to")))
		}
		bound := Bound(threshold)
		if next := math.Nextafter32(bound, float32(math.Inf(1))); float64(bound) > threshold || (next != bound && float64(next) <= threshold) {
			t.Fatalf("Bound(%g) = %g, next %g", threshold, bound, next)
		}
	})
}

func TestEveryByteIsRefusedOrPackedAgain(t *testing.T) {
	for _, p := range packings {
		for n := 1; n <= 2*p.perByte; n++ {
			packed := make([]uint8, (n-1)/p.perByte+1)
			for i := range packed {
				packed[i] = p.zeros
			}
			last, written := len(packed)-1, 0
			for number := range 256 {
				packed[last] = uint8(number)
				codes, again := make([]int8, n), make([]uint8, len(packed))
				switch foreign := p.unpack(codes, packed); foreign {
				case last:
				case -1:
					written++
					if i := p.pack(again, codes); i >= 0 || !slices.Equal(again, packed) {
						t.Fatalf("%s, %d codes: %v unpacks to %v, which packs to %v (%d)", p.name, n, packed, codes, again, i)
					}
				default:
					t.Fatalf("%s, %d codes: byte %d of %v is refused", p.name, n, foreign, packed)
				}
			}
			want := 1
			for range n - last*p.perByte {
				want *= 3
			}
			if written != want {
				t.Errorf("%s, %d codes: %d last bytes are accepted, want %d", p.name, n, written, want)
			}
		}
	}
}

func TestTheFirstCodeIsTheLeastSignificant(t *testing.T) {
	for _, p := range packings {
		codes, packed := make([]int8, p.perByte+1), make([]uint8, 2)
		codes[0], codes[p.perByte] = 1, -1
		if i := p.pack(packed, codes); i >= 0 || packed[0] != p.zeros+1 || packed[1] != p.zeros-1 {
			t.Errorf("%s: %v packs to %v (%d), want %d and %d", p.name, codes, packed, i, p.zeros+1, p.zeros-1)
		}
	}
}

func TestTheFirstIllegalCodeIsNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codes := rapid.SliceOfN(rapid.Int8Range(-1, 1), 1, 24).Draw(t, "codes")
		want := rapid.IntRange(0, len(codes)-1).Draw(t, "at")
		illegal := rapid.Int8().Filter(func(c int8) bool { return c < -1 || c > 1 })
		codes[want] = illegal.Draw(t, "code")
		codes[rapid.IntRange(want, len(codes)-1).Draw(t, "second")] = illegal.Draw(t, "second code")
		if got := FirstIllegal(codes); got != want {
			t.Fatalf("FirstIllegal: %d, want %d", got, want)
		}
		for _, p := range packings {
			if got := p.pack(make([]uint8, (len(codes)-1)/p.perByte+1), codes); got != want {
				t.Fatalf("%s: %d, want %d", p.name, got, want)
			}
		}
	})
}

var packings = []struct {
	name    string
	perByte int
	zeros   uint8
	pack    func([]uint8, []int8) int
	unpack  func([]int8, []uint8) int
}{
	{"base 3", 5, 121, PackBase3, UnpackBase3},
	{"2 bit", 4, 0b01_01_01_01, Pack2Bit, Unpack2Bit},
}
