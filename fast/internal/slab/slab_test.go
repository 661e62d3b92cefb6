package slab

import "testing"

func TestRecordsAreApartAndStay(t *testing.T) {
	const length = 3
	for limit := 1; limit <= 40; limit++ {
		s := New(length, limit)
		for i := range limit {
			r := s.Record(i)
			if len(r) != length || cap(r) != length {
				t.Fatalf("limit %d: record %d has length %d and capacity %d, want %d", limit, i, len(r), cap(r), length)
			}
			for j := range r {
				if r[j] != 0 {
					t.Fatalf("limit %d: new record %d is %v, want zeros", limit, i, r)
				}
				r[j] = float32(i)
			}
		}
		for i := range limit {
			for _, v := range s.Record(i) {
				if v != float32(i) {
					t.Fatalf("limit %d: record %d is %v", limit, i, s.Record(i))
				}
			}
		}
	}
}

func TestMemoryFollowsWhatIsStored(t *testing.T) {
	const length, limit = 5, 1 << 30
	s := New(length, limit)
	for i := range 1000 {
		s.Record(i)
		held := 0
		for _, c := range s.chunks {
			held += len(c)
		}
		if stored := (i + 1) * length; held < stored || held > 2*stored {
			t.Fatalf("%d elements held for %d stored", held, stored)
		}
	}
}

func TestTheLastChunkEndsAtTheLimit(t *testing.T) {
	s, held := New(1, 1344), 0
	for i := range 1344 {
		s.Record(i)
	}
	for _, c := range s.chunks {
		held += len(c)
	}
	if held != 1344 {
		t.Errorf("%d records held, want 1344", held)
	}
}
