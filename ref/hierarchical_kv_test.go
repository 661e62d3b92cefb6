package ref_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// One position in hot, two in warm, three in cold: the seventh drops the first, and
// a hit in cold comes back to hot and moves one position down each tier.
func ExampleNewHierarchicalKV() {
	kv, err := ref.NewHierarchicalKV(spec.HierarchicalKVConfig{
		HotCapacity: 1, WarmCapacity: 2, ColdCapacity: 3, NHeads: 1, HeadDim: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for pos := range 7 {
		key := spec.Matrix{Rows: 1, Cols: 2, Data: []float32{float32(pos), 1}}
		value := spec.Matrix{Rows: 1, Cols: 2, Data: []float32{float32(pos), 2}}
		if err := kv.Put(pos, key, value); err != nil {
			fmt.Println(err)
			return
		}
	}
	var found spec.KVLookup
	for _, pos := range []int{0, 3} {
		if err := kv.Get(&found, pos); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(pos, found.Hit)
	}
	fmt.Println(found.Key.Data, found.Value.Data)
	fmt.Println(kv.NHot(), kv.NWarm(), kv.NCold())
	s := kv.Stats()
	fmt.Println(s.ColdHits, s.Misses, s.Demotions, s.Evictions, s.HitRate)
	// Output:
	// 0 false
	// 3 true
	// [3 1] [3 2]
	// 1 2 3
	// 1 1 12 1 0.5
}

func TestHierarchicalKVUsesMoveToTheTop(t *testing.T) {
	kv := newSmallTieredKV(t)
	putPositions(t, kv, 1, 2, 3, 4, 5, 6) // hot 6, warm 5 4, cold 3 2 1
	putPositions(t, kv, 4)                // hot 4, warm 6 5, cold 3 2 1
	if !hitsPosition(t, kv, 1) {          // hot 1, warm 4 6, cold 5 3 2
		t.Error("position 1 is lost")
	}
	putPositions(t, kv, 7)             // drops 2
	demotions := 0 + 1 + 1 + 2 + 2 + 2 // six new positions
	demotions += 1                     // a put of one in warm
	demotions += 2                     // a get of one in cold
	demotions += 2                     // a new position
	want := spec.HierarchicalKVStats{Puts: 8, Gets: 1, ColdHits: 1, Demotions: demotions, Evictions: 1, HitRate: 1}
	if got := kv.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if hitsPosition(t, kv, 2) {
		t.Error("position 2 is still there")
	}
	for _, pos := range []int{3, 5, 6, 4, 1, 7} {
		if !hitsPosition(t, kv, pos) {
			t.Errorf("position %d is lost", pos)
		}
	}
}

func TestHierarchicalKVMovesBitsAndKeepsCopies(t *testing.T) {
	kv := newSmallTieredKV(t)
	bits := []uint32{0x7fc12345, 0x7f812345, 0x80000000, 0xff800000} // quiet, signalling, −0, −Inf
	key, value := spec.Matrix{Rows: 2, Cols: 2}, spec.Matrix{Rows: 2, Cols: 2}
	for i, b := range bits {
		key.Data = append(key.Data, math.Float32frombits(b))
		value.Data = append(value.Data, math.Float32frombits(bits[3-i]))
	}
	if err := kv.Put(math.MinInt, key, value); err != nil {
		t.Fatal(err)
	}
	clear(key.Data)
	clear(value.Data)
	for range 2 {
		var got spec.KVLookup
		if err := kv.Get(&got, math.MinInt); err != nil || !got.Hit {
			t.Fatal(got.Hit, err)
		}
		for i, b := range bits {
			if k, v := math.Float32bits(got.Key.Data[i]), math.Float32bits(got.Value.Data[3-i]); k != b || v != b {
				t.Errorf("%x comes back as key %x and value %x", b, k, v)
			}
		}
		clear(got.Key.Data)
		clear(got.Value.Data)
	}
}

func TestHierarchicalKVPutManyIsPutInOrder(t *testing.T) {
	one, many := newSmallTieredKV(t), newSmallTieredKV(t)
	positions := []int64{3, 1, 4, 1, 5, 9, 2, 6, 5, 3}
	keys := spec.Heads{Heads: 2, Tokens: len(positions), Dim: 2, Stride: 2*len(positions) + 3} // 3 elements of nobody's
	for i := range 2 * keys.Stride {
		keys.Data = append(keys.Data, float32(i))
	}
	values := keys
	values.Data = slices.Clone(keys.Data)
	slices.Reverse(values.Data)
	for token, pos := range positions {
		var key, value spec.Matrix
		for _, p := range []struct {
			dst *spec.Matrix
			src spec.Heads
		}{{&key, keys}, {&value, values}} {
			p.dst.Resize(2, 2)
			copy(p.dst.Row(0), p.src.Head(0).Row(token))
			copy(p.dst.Row(1), p.src.Head(1).Row(token))
		}
		if err := one.Put(int(pos), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := many.(spec.HierarchicalKVMany).PutMany(positions, keys, values); err != nil {
		t.Fatal(err)
	}
	if got, want := many.Stats(), one.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	for pos := range 10 {
		var got, want spec.KVLookup
		if err := errors.Join(many.Get(&got, pos), one.Get(&want, pos)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("position %d: %+v, want %+v", pos, got, want)
		}
	}
}

func TestHierarchicalKVNamesWhatItRefusesAndChangesNothing(t *testing.T) {
	kv := newSmallTieredKV(t)
	many := kv.(spec.HierarchicalKVMany)
	putPositions(t, kv, 1, 2)
	before := kv.Stats()
	good := spec.Matrix{Rows: 2, Cols: 2, Data: make([]float32, 4)}
	bad := spec.Matrix{Rows: 1, Cols: 4, Data: make([]float32, 4)}
	var two, three spec.Heads
	two.Resize(2, 2, 2)
	three.Resize(2, 3, 2)
	for _, c := range []struct {
		name string
		err  error
	}{
		{"key", kv.Put(7, bad, bad)},
		{"value", kv.Put(7, good, bad)},
		{"value", kv.Put(7, good, spec.Matrix{})},
		{"positions", many.PutMany(nil, spec.Heads{Heads: 2, Dim: 2}, spec.Heads{Heads: 2, Dim: 2})},
		{"keys", many.PutMany([]int64{7, 8}, three, three)},
		{"values", many.PutMany([]int64{7, 8}, two, three)},
	} {
		if !errors.Is(c.err, spec.Invalid) || !strings.HasPrefix(c.err.Error(), "hierarchical-kv: "+c.name+": ") {
			t.Errorf("want %s refused, got %v", c.name, c.err)
		}
	}
	if got := kv.Stats(); got != before || kv.NHot()+kv.NWarm()+kv.NCold() != 2 {
		t.Errorf("refusals have changed the store: %+v, want %+v", got, before)
	}
	config := spec.DefaultHierarchicalKVConfig()
	config.ColdCapacity = config.WarmCapacity
	if kv, err := ref.NewHierarchicalKV(config); kv != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("cold_capacity = warm_capacity: %v, %v", kv, err)
	}
}

// newSmallTieredKV returns a store of 1, 2 and 3 positions, of (2, 2) elements each.
func newSmallTieredKV(t *testing.T) spec.HierarchicalKV {
	t.Helper()
	kv, err := ref.NewHierarchicalKV(spec.HierarchicalKVConfig{HotCapacity: 1, WarmCapacity: 2, ColdCapacity: 3, NHeads: 2, HeadDim: 2})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func putPositions(t *testing.T, kv spec.HierarchicalKV, positions ...int) {
	t.Helper()
	for _, pos := range positions {
		data := spec.Matrix{Rows: 2, Cols: 2, Data: make([]float32, 4)}
		if err := kv.Put(pos, data, data); err != nil {
			t.Fatal(err)
		}
	}
}

func hitsPosition(t *testing.T, kv spec.HierarchicalKV, pos int) bool {
	t.Helper()
	var found spec.KVLookup
	if err := kv.Get(&found, pos); err != nil {
		t.Fatal(err)
	}
	return found.Hit
}
