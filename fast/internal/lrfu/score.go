package lrfu

import "math"

// A score is a decayed count as of its last access, with what additions lost of it
// (Neumaier 1974), so that 10⁹ of them do not drift.
type score struct{ sum, lost float64 }

// access decays the score from its last access to now, and adds 1.
func (s *score) access(now, last int64, d *decay) {
	if n := now - last; float64(n)*d.ln > -0.5 {
		// What goes is small: subtracting it is more accurate than multiplying by
		// what stays, whose rounding would add up.
		s.add((s.sum + s.lost) * d.loss(n))
	} else {
		factor := d.factor(n)
		s.sum, s.lost = s.sum*factor, s.lost*factor
	}
	s.add(1)
}

func (s *score) add(v float64) {
	sum := s.sum + v
	if math.Abs(s.sum) >= math.Abs(v) {
		s.lost += (s.sum - sum) + v
	} else {
		s.lost += (v - sum) + s.sum
	}
	s.sum = sum
}
