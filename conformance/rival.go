package conformance

import (
	"fmt"
	"strings"
	"time"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A Peer is an implementation in another process, to be timed in turn with ours.
type Peer struct {
	spec.Implementation
	// Time makes calls, every operation among them so many times in place of once, and
	// returns how long the operations took there, once each. What they came to is
	// then nobody's.
	Time func(repeat int, calls func() error) (time.Duration, error)
}

// A rival is a row on a peer. It fails once, and does nothing from then on: what it
// failed with is a note in the row's result. A nil rival does nothing at all.
type rival struct {
	timing
	peer      *Peer
	instances *[]proxy.Handler
	repeat    int
	next      int // the call of a round that is timed next
	failed    error
}

// rival prepares a row on a peer, nil where there is none.
func (r *row) rival(peer *Peer, m *spec.Module, name spec.WorkloadName, w spec.Workload) *rival {
	if peer == nil {
		return nil
	}
	v := &rival{peer: peer}
	if variant := rowVariant(m, name); !peer.OffersVariant(m, variant) {
		v.failed = fmt.Errorf("does not offer %s: %w", strings.TrimSuffix(m.Name+":"+string(variant), ":"), spec.Unsupported)
		return v
	}
	impl, instances := kept(peer.Implementation)
	v.instances = instances
	v.try(func() (err error) {
		v.timing, err = r.prepare(impl, name, w)
		return err
	})
	return v
}

// try runs f where nothing has failed yet, and keeps what it fails with.
func (v *rival) try(f func() error) {
	if v == nil || v.failed != nil {
		return
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *proxy.Breach:
			v.failed = r
		default:
			panic(r)
		}
	}()
	v.failed = f()
}

// most is the number of times that a peer makes an operation for one sample.
const most = 10_000

// calibrate finds how often a call is to be repeated to take about so long, and
// returns how long it takes once.
func (v *rival) calibrate(long time.Duration) time.Duration {
	if v == nil {
		return 0
	}
	bound := most
	if v.repeats > 0 {
		bound = min(bound, v.repeats)
	} else if v.refill != nil {
		bound = min(bound, v.calls)
	}
	var took time.Duration
	for v.repeat = 1; v.failed == nil; {
		took = max(1, v.time())
		if enough := min(bound, max(1, int(long/took))); enough > 2*v.repeat {
			v.repeat = min(enough, 16*v.repeat)
			continue
		} else {
			v.repeat = enough
		}
		break
	}
	return took
}

// time makes one call over and over and returns how long it took.
func (v *rival) time() (took time.Duration) {
	v.try(func() (err error) {
		if v.refill != nil {
			if err := v.refill(); err != nil {
				return err
			}
		}
		took, err = v.peer.Time(v.repeat, func() error { return v.call(v.next % v.calls) })
		v.next++
		return err
	})
	return took
}

// sample returns the nanoseconds of a call, and whether there was one.
func (v *rival) sample() (ns float64, ok bool) {
	if v == nil {
		return 0, false
	}
	took := v.time()
	return float64(max(took, 1)), v.failed == nil
}

// check judges what a round comes to on the instance that is to be timed: timed
// operations have no output.
func (v *rival) check(equal func(t *trial, got any)) {
	v.try(func() error {
		if err := v.round(); err != nil {
			return err
		}
		got, err := v.result()
		if err != nil {
			return err
		}
		return judge(v.peer.Implementation, func(t *trial) { equal(t, got) })
	})
}

// note is what the rival failed with, in a line, or "".
func (v *rival) note() string {
	if v == nil || v.failed == nil {
		return ""
	}
	return strings.Join(strings.Fields(v.failed.Error()), " ")
}

// close closes the peer's instances where they are still there.
func (v *rival) close() {
	if v != nil && v.instances != nil {
		closeAll(*v.instances)
	}
}
