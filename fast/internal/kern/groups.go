package kern

import (
	"math"
	"unsafe"
)

// LongestGroup is the length of the groups that vectors hold.
const LongestGroup = 16

// Groups are groups of m numbers, 2 ≤ m ≤ LongestGroup.
type Groups struct {
	m            int
	wide, narrow []uint32 // rotations for 16 lanes, and for 8
}

// NewGroups makes the tables that a vector is rotated by, some 128·m bytes.
func NewGroups(m int) *Groups {
	return &Groups{m: m, wide: rotations(m, 16), narrow: rotations(m, 8)}
}

// rotations are, for each of the m−1 others of a group, the lanes where it is, and
// then 1 where it is before and else 0. Lanes behind the last whole group have
// themselves.
func rotations(m, lanes int) []uint32 {
	if m > lanes {
		return nil
	}
	var table []uint32
	for by := 1; by < m; by++ {
		var tie []uint32
		for lane := range lanes {
			other, before := lane, uint32(0)
			if group := lane / m * m; group+m <= lanes {
				place := (lane - group + by) % m
				other = group + place
				if place < lane-group {
					before = 1
				}
			}
			table, tie = append(table, uint32(other)), append(tie, before)
		}
		table = append(table, tie...)
	}
	return table
}

// Prune keeps count of every m numbers, 1 ≤ count < m, as Prune4 does of four. dst is
// not x.
//
// A vector holds as many whole groups as fit in, and is compared with itself, its
// groups rotated: m−1 comparisons. What it has of the next group is done again.
func (g *Groups) Prune(dst []float32, keep []bool, x []float32, count int) (largest uint32) {
	dst, keep = dst[:len(x)], keep[:len(x)]
	done := 0
	switch {
	case useAVX512:
		done, largest = pruneGroupsAVX512(unsafe.SliceData(dst), unsafe.SliceData(keep), unsafe.SliceData(x), unsafe.SliceData(g.wide), g.m, 16/g.m*g.m, count, len(x))
	case useAVX2 && g.m <= 8:
		done, largest = pruneGroupsAVX2(unsafe.SliceData(dst), unsafe.SliceData(keep), unsafe.SliceData(x), unsafe.SliceData(g.narrow), g.m, 8/g.m*g.m, count, len(x))
	}
	return max(largest, g.pruneGo(dst[done:], keep[done:], x[done:], count))
}

func (g *Groups) pruneGo(dst []float32, keep []bool, x []float32, count int) (largest uint32) {
	for ; len(x) >= g.m; x, dst, keep = x[g.m:], dst[g.m:], keep[g.m:] {
		largest = max(largest, pruneGroupGo(dst[:g.m], keep[:g.m], x[:g.m], uint32(count)))
	}
	return largest
}

func pruneGroupGo(dst []float32, keep []bool, x []float32, count uint32) (largest uint32) {
	var beaten, magnitudes [LongestGroup]uint32
	for i, v := range x {
		m := math.Float32bits(v) & signless
		largest = max(largest, m)
		for j, other := range magnitudes[:i] {
			less := (other - m) >> 31
			beaten[j] += less
			beaten[i] += 1 - less
		}
		magnitudes[i] = m
	}
	for i, v := range x {
		kept := (beaten[i] - count) >> 31
		keep[i] = kept != 0
		dst[i] = math.Float32frombits(math.Float32bits(v) & -kept)
	}
	return largest
}
