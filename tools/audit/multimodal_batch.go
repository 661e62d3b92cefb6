package audit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// The server that is simulated takes a batch when it has none, and this long for it, in
// seconds: once, and for each token, padding too.
const (
	batchSeconds = 0.02
	tokenSeconds = 20e-6
)

// paddedTokens is how many tokens a batch computes: as many slots as it has requests, of the
// longest text and the most vision tokens.
func paddedTokens(batch []int, trace []arrival) int {
	text, vision := 0, 0
	for _, i := range batch {
		text, vision = max(text, trace[i].text), max(vision, trace[i].vision)
	}
	return len(batch) * (text + vision)
}

func serviceSeconds(batch []int, trace []arrival) float64 {
	return batchSeconds + float64(tokenSeconds*float64(paddedTokens(batch, trace)))
}

// work is how long a server takes for a trace in full batches, in the order of arrival
// and whatever the modality. A trace that is as long has load 1.
func work(trace []arrival, size int) (seconds float64) {
	queue := &oneQueue{size: size}
	for i, r := range trace {
		queue.add(i, r)
	}
	for served := 0; served < len(trace); {
		batch, _ := queue.next()
		seconds += serviceSeconds(batch, trace)
		served += len(batch)
	}
	return seconds
}

// A batcher queues requests by number, and takes batches of them.
type batcher interface {
	add(i int, r arrival) error
	next() ([]int, error)
}

// oneQueue serves in the order of arrival. Where it is cut, a batch ends where the
// modality changes.
type oneQueue struct {
	size       int
	cut        bool
	ids        []int
	modalities []int
}

func (q *oneQueue) add(i int, r arrival) error {
	q.ids, q.modalities = append(q.ids, i), append(q.modalities, r.modality())
	return nil
}

func (q *oneQueue) next() ([]int, error) {
	n := 0
	for n < min(q.size, len(q.ids)) && !(q.cut && q.modalities[n] != q.modalities[0]) {
		n++
	}
	batch := q.ids[:n]
	q.ids, q.modalities = q.ids[n:], q.modalities[n:]
	return batch, nil
}

// moduleQueue is the module, checked against two plain lists: every request is handed
// out once and unchanged, in the order of arrival, and a batch is of one modality and
// full but where it empties its queue.
type moduleQueue struct {
	module  spec.MultiModalBatch
	size    int
	trace   []arrival
	pending [2][]int // by modality
	slots   []spec.BatchSlot
}

func (q *moduleQueue) add(i int, r arrival) error {
	modality := r.modality()
	q.pending[modality] = append(q.pending[modality], i)
	return q.module.AddRequest(int64(i), modalities[modality], r.text, r.vision, 0)
}

var modalities = [2]spec.Modality{spec.Text, spec.Vision}

func (q *moduleQueue) next() ([]int, error) {
	if err := q.module.NextBatch(&q.slots); err != nil {
		return nil, err
	}
	if len(q.slots) == 0 {
		return nil, fmt.Errorf("no batch of %d requests that wait: the audit cannot be trusted", len(q.pending[0])+len(q.pending[1]))
	}
	modality := slices.Index(modalities[:], q.slots[0].Modality)
	if modality < 0 || len(q.slots) != min(q.size, len(q.pending[modality])) {
		return nil, fmt.Errorf("a batch of %d requests of %q, of up to %d, and %d and %d wait: the audit cannot be trusted", len(q.slots), q.slots[0].Modality, q.size, len(q.pending[0]), len(q.pending[1]))
	}
	batch := q.pending[modality][:len(q.slots)]
	for n, i := range batch {
		want := spec.BatchSlot{ID: int64(i), Modality: modalities[modality], TextLen: q.trace[i].text, VisionTokens: q.trace[i].vision}
		if q.slots[n] != want {
			return nil, fmt.Errorf("slot %d is %v, want %v, the next that waits: the audit cannot be trusted", n, q.slots[n], want)
		}
	}
	q.pending[modality] = q.pending[modality][len(batch):]
	if text, vision := q.module.PendingText(), q.module.PendingVision(); text != len(q.pending[0]) || vision != len(q.pending[1]) {
		return nil, fmt.Errorf("%d and %d requests wait, want %d and %d: the audit cannot be trusted", text, vision, len(q.pending[0]), len(q.pending[1]))
	}
	return batch, nil
}

// A queueing is what became of the requests of a trace, in their order.
type queueing struct {
	waits []float64 // seconds from arrival to the begin of service
	// rounds are the batches that a request saw go before its own, and beyond how many
	// of them are more than the backlog explains: ⌈p/b⌉ + ⌈q/b⌉ − 1 of batches of b, with
	// p requests of its modality when it came, itself included, and q of the other when
	// the next batch goes.
	rounds, beyond []int
	useful, padded int // tokens
}

// serve simulates the server.
func serve(ctx context.Context, trace []arrival, size int, queue batcher) (*queueing, error) {
	n := len(trace)
	s := &queueing{waits: make([]float64, n), rounds: make([]int, n), beyond: make([]int, n)}
	came := make([]int, n)    // batches that had gone
	backlog := make([]int, n) // its batches
	var waiting [2]int
	clock, batches, arrived, fresh := 0.0, 0, 0, 0
	for served := 0; served < n; batches++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if arrived == served {
			clock = max(clock, trace[arrived].at)
		}
		for ; arrived < n && trace[arrived].at <= clock; arrived++ {
			r := trace[arrived]
			if err := queue.add(arrived, r); err != nil {
				return nil, err
			}
			waiting[r.modality()]++
			came[arrived], backlog[arrived] = batches, batchesOf(waiting[r.modality()], size)-1
		}
		for ; fresh < arrived; fresh++ {
			backlog[fresh] += batchesOf(waiting[1-trace[fresh].modality()], size)
		}
		batch, err := queue.next()
		if err != nil {
			return nil, err
		}
		for _, i := range batch {
			s.waits[i] = clock - trace[i].at
			s.rounds[i] = batches - came[i]
			s.beyond[i] = s.rounds[i] - backlog[i]
			s.useful += trace[i].text + trace[i].vision
			waiting[trace[i].modality()]--
		}
		s.padded += paddedTokens(batch, trace)
		served += len(batch)
		clock += serviceSeconds(batch, trace)
	}
	return s, nil
}

func batchesOf(requests, size int) int { return (requests + size - 1) / size }

// of are the figures of a modality: mean, 99th percentile and longest wait in seconds,
// and the most rounds.
func (s *queueing) of(modality int, trace []arrival) (mean, tail, longest, rounds float64) {
	var waits []float64
	for i, r := range trace {
		if r.modality() == modality {
			waits, rounds = append(waits, s.waits[i]), max(rounds, float64(s.rounds[i]))
		}
	}
	if len(waits) == 0 {
		return 0, 0, 0, 0
	}
	slices.Sort(waits)
	return total(waits) / float64(len(waits)), quantile(waits, 0.99), waits[len(waits)-1], rounds
}

func (s *queueing) mean() float64    { return total(s.waits) / float64(len(s.waits)) }
func (s *queueing) passedOver() int  { return slices.Max(s.beyond) }
func (s *queueing) padding() float64 { return 1 - float64(s.useful)/float64(s.padded) }

// A spread is the least and the greatest of some figures.
type spread struct{ least, most float64 }

func outermost() *spread { return &spread{math.Inf(1), math.Inf(-1)} }

func (s *spread) add(x float64) { s.least, s.most = min(s.least, x), max(s.most, x) }

func (s *spread) text(verb string) string { return fmt.Sprintf(verb+"…"+verb, s.least, s.most) }

// waitRounds is after how many batches a request is overdue where the rule is on.
const waitRounds = 8

// batchWaiting sends a trace through the module and through one queue. The rule against
// starvation holds if no request is passed over more often than it says; without the
// rule some must be.
func batchWaiting(ctx context.Context, a *Audit, f *Finding) error {
	trace, source := drawArrivals(a.Seed), "drawn requests that come in bursts"
	if a.Data != "" {
		var err error
		trace, err = readArrivals(a.Data)
		if err != nil {
			return err
		}
		source, f.Evidence = "Azure's requests of conversations", append(f.Evidence, dataArrivals)
	}
	config := spec.DefaultMultiModalBatchConfig()
	size, tooLong := config.MaxBatchSize, 0
	for _, r := range trace {
		if r.text > config.MaxTextLen {
			tooLong++
		}
	}
	limit := config.MaxTextLen
	for _, r := range trace {
		config.MaxTextLen = max(config.MaxTextLen, r.text)
	}
	module := func(trace []arrival, rounds int) (batcher, error) {
		c := config
		c.MaxWaitRounds = rounds
		m, err := a.Implementation.MultiModalBatch(c)
		return &moduleQueue{module: m, size: size, trace: trace}, err
	}
	curve := &Curve{Columns: []string{"vision %", "load", "policy", "text mean s", "text p99 s", "text longest s", "vision mean s", "vision p99 s", "vision longest s", "text rounds at most", "vision rounds at most", "passed over at most", "padding %"}}
	var most [2]int // passed over, without and with the rule
	over := 0       // requests passed over more often than the rule allows, without it
	// What the rule adds to the mean wait, in percent, and to padding, in points.
	slower, wider := outermost(), outermost()
	for _, share := range []float64{0.30, 0.05} {
		mixed := withVision(trace, share, a.Seed)
		full := work(mixed, size) / mixed[len(mixed)-1].at
		for _, load := range []float64{0.5, 0.9, 1.2} {
			requests := scaled(mixed, full/load)
			without, err := module(requests, 0)
			if err != nil {
				return err
			}
			with, err := module(requests, waitRounds)
			if err != nil {
				return err
			}
			var ran [4]*queueing
			for n, queue := range []batcher{&oneQueue{size: size}, &oneQueue{size: size, cut: true}, without, with} {
				s, err := serve(ctx, requests, size, queue)
				if err != nil {
					return err
				}
				row := []float64{100 * share, load, float64(n + 1)}
				var rounds [2]float64
				for m := range modalities {
					mean, tail, longest, seen := s.of(m, requests)
					row, rounds[m] = append(row, mean, tail, longest), seen
				}
				ran[n] = s
				curve.add(append(row, rounds[0], rounds[1], float64(s.passedOver()), 100*s.padding())...)
			}
			for n := range most {
				most[n] = max(most[n], ran[2+n].passedOver())
			}
			for _, b := range ran[2].beyond {
				over += int(oneIf(b > waitRounds))
			}
			if ran[2].mean() > 0 { // who never waits waits no longer
				slower.add(100 * (ran[3].mean()/ran[2].mean() - 1))
			}
			wider.add(100 * (ran[3].padding() - ran[2].padding()))
		}
	}
	f.Curve = curve
	f.counted(float64(most[1]), "batches that a request is passed over, at most")
	switch {
	case most[1] > waitRounds:
		f.Verdict = Refuted
	case over == 0:
		f.Verdict = Conditional
	default:
		f.Verdict = Supported
	}
	adds := "nobody waits, and it adds"
	if slower.least <= slower.most {
		adds = fmt.Sprintf("it adds %s%% to the mean wait, and", slower.text("%+.1f"))
	}
	f.Note = fmt.Sprintf("%s: %d, %d of more than %d tokens, so that max_text_len is the longest's, %d; 30%% or 5%% of them were made requests of vision of %d to %d tokens. The server is simulated: a batch of up to %d takes %v s and %v s a token, padding too, and load 1 is a trace as long as its full batches take in the order of arrival. Policies are 1 one queue, a batch padded to the longest text and the most vision tokens; 2 one queue, a batch cut where the modality changes; 3 the module, longest queue first; 4 with max_wait_rounds %d. Passed over is by how many batches a request went later than the backlog explains, ⌈p/b⌉ + ⌈q/b⌉ batches with its own: with the rule at most %d, without it %d, and %d requests by more than %d. Over the six pairs of runs %s %s points to padding. Every request was handed out once, in the order of its modality. Times are simulated, and exact for this trace and seed; what a batch and a token cost is chosen, not measured",
		source, len(trace), tooLong, limit, config.MaxTextLen, fewestVision, mostVision, size, batchSeconds, tokenSeconds, waitRounds, most[1], most[0], over, waitRounds, adds, wider.text("%+.2f"))
	return nil
}
