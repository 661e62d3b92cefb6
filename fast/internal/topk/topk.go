// Package topk finds where the k largest values end, without sorting.
//
// The idea: quickselect with a three-way partition. Only the side that the k-th
// largest value lies in is looked at again, so the work is linear, and equal
// values, of which a trace has many, end it early. Knowing the cut and how many
// values equal to it belong to the k, one pass in order picks the earliest.
package topk

import (
	"math"
	"math/bits"
	"slices"
)

// Cut returns the k-th largest of the values, and how many of those equal to it
// are among the k largest; all greater ones are. It reorders the values, which
// have no NaN; 1 ≤ k ≤ len(values).
func Cut(values []float64, k int) (cut float64, ties int) {
	return cutWithin(2*bits.Len(uint(len(values))), values, k)
}

// cutWithin is Cut, with so many partitions at most. Values that make partitions
// of nearly all and nearly nothing use them up: sorting the rest then bounds the
// work by n·log n.
func cutWithin(partitions int, values []float64, k int) (cut float64, ties int) {
	for range partitions {
		pivot := middle(values)
		greater, equal := partition(values, pivot)
		switch {
		case k <= greater:
			values = values[:greater]
		case k <= greater+equal:
			return pivot, k - greater
		default:
			values = values[greater+equal:]
			k -= greater + equal
		}
	}
	slices.Sort(values)
	cut = values[len(values)-k]
	first, _ := slices.BinarySearch(values, cut)
	last := first
	for last < len(values) && values[last] == cut {
		last++
	}
	return cut, k - (len(values) - last)
}

// middle returns the median of the first, the middle and the last value.
func middle(v []float64) float64 {
	a, b, c := v[0], v[len(v)/2], v[len(v)-1]
	return max(min(a, b), min(max(a, b), c))
}

// partition puts the values above the pivot first, then those equal to it, and
// returns how many there are of each.
func partition(v []float64, pivot float64) (greater, equal int) {
	end := len(v) // v[end:] is below the pivot
	for i := 0; i < end; {
		switch x := v[i]; {
		case x > pivot:
			v[i] = v[greater]
			v[greater] = x
			greater++
			i++
		case x < pivot:
			end--
			v[i] = v[end]
			v[end] = x
		default:
			i++
		}
	}
	return greater, end - greater
}

// Split appends the places of the k largest scores to kept and the others to
// dropped, both in order; of equal scores the earlier are kept. scratch is memory
// of the scores' length, which is overwritten; 0 ≤ k ≤ len(scores).
func Split(kept, dropped []int, scores, scratch []float64, k int) ([]int, []int) {
	cut, ties := math.Inf(1), 0
	if k > 0 {
		copy(scratch, scores)
		cut, ties = Cut(scratch[:len(scores)], k)
	}
	for i, s := range scores {
		switch {
		case s > cut:
			kept = append(kept, i)
		case s == cut && ties > 0:
			ties--
			kept = append(kept, i)
		default:
			dropped = append(dropped, i)
		}
	}
	return kept, dropped
}
