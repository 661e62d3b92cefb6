package lrfu

// A windowed is the decayed sum of the accesses within a window. Subtracting what
// leaves would let roundings pile up; instead the accesses are a queue made of two
// stacks, the older with the sum of each access and all newer ones of that stack,
// so that an access that leaves takes its sum along. Each access is moved from one
// stack to the other once.
type windowed struct {
	older []suffix // the oldest last
	newer []int64  // times
	sum   score    // of newer, as of its last
}

// A suffix is the sum of the accesses from one on, as of the newest in older.
type suffix struct {
	time int64
	sum  float64
}

func (w *windowed) access(now int64, d *decay) {
	last := now
	if n := len(w.newer); n > 0 {
		last = w.newer[n-1]
	}
	w.sum.access(now, last, d)
	w.newer = append(w.newer, now)
}

// expire takes the oldest access away.
func (w *windowed) expire(d *decay) {
	if len(w.older) == 0 {
		newest := w.newer[len(w.newer)-1]
		sum := 0.0
		for i := len(w.newer) - 1; i >= 0; i-- {
			sum += d.factor(newest - w.newer[i])
			w.older = append(w.older, suffix{w.newer[i], sum})
		}
		w.newer, w.sum = w.newer[:0], score{}
	}
	w.older = w.older[:len(w.older)-1]
}

// score is the sum as of the last access. There is one.
func (w *windowed) score(d *decay) float64 {
	sum := w.sum.sum + w.sum.lost
	if n := len(w.older); n > 0 {
		from := w.older[0].time
		last := from
		if m := len(w.newer); m > 0 {
			last = w.newer[m-1]
		}
		sum += w.older[n-1].sum * d.factor(last-from)
	}
	return sum
}

func (w *windowed) emptied() windowed {
	return windowed{older: w.older[:0], newer: w.newer[:0]}
}

// An access names an item by its slot, and by how often the slot was used before.
type access struct {
	slot       int32
	generation uint32
}
