package kern

import "math"

// Shares is the step of an online softmax (Milakov & Gimelshein 2018) over a block of
// keys, for many queries. s has a row a key, a column a query, and at least one row:
// dot products, whose logits are scale times them. largest has each query's largest
// dot product so far, −MaxFloat32 before any, and total the sum of e^(logit − largest
// logit), 0 before any. What is less than e⁻⁸⁷ counts as 0.
//
// Each weight becomes its share of the new total, and kept is the share of all that
// came before: with it they sum to 1. A dot product of −Inf has the weight 0, and
// where there is nothing else all shares are 0. NaN, and +Inf, make a NaN of total
// and shares for good.
//
// Differences of dot products are taken of halves, which cannot overflow, and are
// scaled after that, so that no error grows with the size of logits. Forms differ
// as their exponentials do.
func Shares(s View, scale float64, largest, total, kept []float32) {
	keys, queries := s.Rows, s.Cols
	if queries == 0 {
		return
	}
	s.Data = s.Data[:(keys-1)*s.Down+queries]
	largest, total, kept = largest[:queries], total[:queries], kept[:queries]
	// Above 0, so that −Inf stays −Inf, and finite, so that 0 stays 0.
	twice := float32(max(math.SmallestNonzeroFloat32, min(2*scale, math.MaxFloat32)))
	switch {
	case useAVX512:
		sharesAVX512(&s.Data[0], s.Down, keys, queries, &largest[0], &total[0], &kept[0], twice)
	case useAVX2:
		sharesAVX2(&s.Data[0], s.Down, keys, queries, &largest[0], &total[0], &kept[0], twice)
	default:
		sharesGo(s, twice, largest, total, kept)
	}
}

func sharesGo(s View, twice float32, largest, total, kept []float32) {
	for j := range s.Cols {
		m := largest[j]
		for i := range s.Rows {
			if v := s.Data[i*s.Down+j]; v > m {
				m = v
			}
		}
		old, sum := total[j]*weight((0.5*largest[j]-0.5*m)*twice), float32(0)
		for i := range s.Rows {
			v := &s.Data[i*s.Down+j]
			*v = weight((0.5**v - 0.5*m) * twice)
			sum += *v
		}
		sum += old
		share := 1 / max(sum, 0x1p-126)
		largest[j], total[j], kept[j] = m, sum, old*share
		for i := range s.Rows {
			s.Data[i*s.Down+j] *= share
		}
	}
}

func weight(x float32) float32 {
	if x < -87 {
		return 0
	}
	if counting {
		counts.exps.Add(1)
	}
	return exp32(x)
}
