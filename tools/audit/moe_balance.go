package audit

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// How many gates are drawn, so many that the seed does not decide, and for how many
// experts each. The page's row has 4, and the figure is of the defaults' 8.
const balanceGates = 128

var balanceExperts = []int{4, 8, 16, 64}

// capacityFactors are those that dropped places are counted at.
var capacityFactors = []float64{1, 1.25, 2}

// balanced is how much larger than the mean the largest load may be: what fits without
// a drop at the capacity factor that Switch Transformers trains with.
const balanced = 1.25

// A balance is how evenly tokens are routed.
type balance struct {
	largest float64 // load, over the mean
	entropy float64 // of the load, over that of an even one
	loss    float64 // over what it is where all is even
	dropped []float64
}

// balanceOf routes tokens by a gate, without a limit and with some capacity factors.
func balanceOf(impl spec.Implementation, gate, x spec.Matrix, factors []float64) (*balance, error) {
	config := spec.DefaultSparseMoEConfig()
	config.HiddenDim, config.NExperts, config.GateWeights = gate.Rows, gate.Cols, gate
	b := &balance{}
	for _, factor := range append([]float64{0}, factors...) {
		config.CapacityFactor = factor
		moe, err := impl.SparseMoE(config)
		if err != nil {
			return nil, err
		}
		var routing spec.MoERouting
		if err := moe.Route(&routing, x); err != nil {
			return nil, err
		}
		load, dropped, err := loadOf(config, routing.Indices, x.Rows)
		if err != nil {
			return nil, err
		}
		if dropped != routing.Dropped || !slices.Equal(load, moe.Stats().ExpertLoad) {
			return nil, fmt.Errorf("%d places are dropped and the load is %v, want %d and %v, as the indices have it: the audit cannot be trusted", routing.Dropped, moe.Stats().ExpertLoad, dropped, load)
		}
		if factor > 0 {
			b.dropped = append(b.dropped, float64(dropped)/float64(len(routing.Indices)))
			continue
		}
		if err := routedByGate(config, gate, x, routing.Indices); err != nil {
			return nil, err
		}
		b.largest, b.entropy = evenness(load)
		b.loss = routing.AuxLoss / config.LoadBalanceWeight
	}
	return b, nil
}

// loadOf counts the places that experts have, and those that were dropped.
func loadOf(config spec.SparseMoEConfig, indices []int32, tokens int) (load []int64, dropped int, err error) {
	kept, err := config.CheckIndices(indices, tokens, make([]int, config.NExperts))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: the audit cannot be trusted", err)
	}
	load = make([]int64, config.NExperts)
	for _, e := range indices {
		if e >= 0 {
			load[e]++
		}
	}
	if capacity := int64(config.Capacity(tokens)); capacity > 0 && slices.Max(load) > capacity || capacity == 0 && kept < len(indices) {
		return nil, 0, fmt.Errorf("loads of %v with a capacity of %d: the audit cannot be trusted", load, capacity)
	}
	return load, len(indices) - kept, nil
}

// checkedTokens is that every so many tokens one is routed again, which takes longer
// than Route.
const checkedTokens = 8

// routedByGate checks a routing against logits in float64: no expert of a token has one
// below that of an expert it does not have, by more than what float32 rounds.
func routedByGate(config spec.SparseMoEConfig, gate, x spec.Matrix, indices []int32) error {
	logits := make([]float64, gate.Cols)
	for t := 0; t < x.Rows; t += checkedTokens {
		clear(logits)
		magnitude := 0.0
		for i, v := range x.Row(t) {
			for e, w := range gate.Row(i) {
				logits[e] += float64(float64(v) * float64(w))
			}
		}
		for _, l := range logits {
			magnitude = max(magnitude, math.Abs(l))
		}
		chosen := indices[t*config.TopK:][:config.TopK]
		least, most := math.Inf(1), math.Inf(-1)
		for e, l := range logits {
			if slices.Contains(chosen, int32(e)) {
				least = min(least, l)
			} else {
				most = max(most, l)
			}
		}
		if least < most-1e-4*magnitude {
			return fmt.Errorf("token %d is routed to %v, whose logits are not the greatest: the audit cannot be trusted", t, chosen)
		}
	}
	return nil
}

// evenness is the largest load over the mean, and the load's entropy over that of an
// even one.
func evenness(load []int64) (largest, entropy float64) {
	all, most := 0.0, 0.0
	for _, n := range load {
		all, most = all+float64(n), max(most, float64(n))
	}
	for _, n := range load {
		if p := float64(n) / all; p > 0 {
			entropy -= float64(p * math.Log(p))
		}
	}
	return most / all * float64(len(load)), entropy / math.Log(float64(len(load)))
}

// roundRobin is the largest load over the mean where places go to the experts in turn.
func roundRobin(tokens, topK, experts int) float64 {
	places := tokens * topK
	return float64((places+experts-1)/experts) / (float64(places) / float64(experts))
}

// moments are the mean and the deviation of each column.
func moments(x spec.Matrix) (mean, deviation []float64) {
	mean, deviation = columnMeans(x), make([]float64, x.Cols)
	for t := range x.Rows {
		for i, v := range x.Row(t) {
			d := float64(v) - mean[i]
			deviation[i] += float64(d*d) / float64(x.Rows)
		}
	}
	for i, v := range deviation {
		deviation[i] = math.Sqrt(v)
	}
	return mean, deviation
}

// likeMoments are as many Gaussian rows of the same moments.
func likeMoments(x spec.Matrix, seed uint64) spec.Matrix {
	mean, deviation := moments(x)
	r := rand.New(rand.NewPCG(seed, 0x3e03e))
	out := spec.Matrix{Rows: x.Rows, Cols: x.Cols, Data: make([]float32, len(x.Data))}
	for at := range out.Data {
		i := at % x.Cols
		out.Data[at] = float32(mean[i] + float64(deviation[i]*r.NormFloat64()))
	}
	return out
}

// centred are rows less their mean.
func centred(x spec.Matrix) spec.Matrix {
	mean, _ := moments(x)
	out := spec.Matrix{Rows: x.Rows, Cols: x.Cols, Data: make([]float32, len(x.Data))}
	for at, v := range x.Data {
		out.Data[at] = float32(float64(v) - mean[at%x.Cols])
	}
	return out
}

// loadBalance routes what goes into the model's feed-forward layers by gates that are
// drawn: all that the module does about balance is to compute a loss.
func loadBalance(ctx context.Context, a *Audit, f *Finding) error {
	// The first of each layer's inputs are judged, the others are baselines.
	inputs := make([][3]spec.Matrix, len(a.job.activations))
	for layer, x := range a.job.activations {
		x := x[llama.FeedForwardInput]
		inputs[layer] = [...]spec.Matrix{x, likeMoments(x, a.Seed+uint64(layer)), centred(x)}
	}
	tokens, defaults := inputs[0][0].Rows, spec.DefaultSparseMoEConfig()
	curve := &Curve{Columns: []string{"experts", "largest load / mean", "low", "high", "entropy %", "loss / even"}}
	for _, factor := range capacityFactors {
		curve.Columns = append(curve.Columns, fmt.Sprintf("dropped at %v %%", factor))
	}
	curve.Columns = append(curve.Columns, "Gaussian largest / mean", fmt.Sprintf("Gaussian dropped at %v %%", balanced), "centred largest / mean", fmt.Sprintf("centred dropped at %v %%", balanced), "round robin largest / mean")
	var even, uneven []int // numbers of experts
	var offset float64     // the figure of centred inputs
	var figure float64
	var around Interval
	layers := make([]float64, len(inputs)) // of the defaults, means over gates
	for _, experts := range balanceExperts {
		var of [3][balanceGates]balance
		for g := range balanceGates {
			if err := ctx.Err(); err != nil {
				return err
			}
			config := defaults
			config.HiddenDim, config.NExperts, config.Seed = inputs[0][0].Cols, experts, a.Seed<<16+uint64(g)
			gate := config.Gate()
			for layer := range inputs {
				for n, x := range inputs[layer] {
					factors := capacityFactors
					if n > 0 {
						factors = []float64{balanced}
					}
					b, err := balanceOf(a.Implementation, gate, x, factors)
					if err != nil {
						return err
					}
					of[n][g].add(b, 1/float64(len(inputs)))
					if n == 0 && experts == defaults.NExperts {
						layers[layer] += b.largest / balanceGates
					}
				}
			}
		}
		mean := overGates(of[0][:])
		var largest []float64
		for g := range of[0] {
			largest = append(largest, of[0][g].largest)
		}
		_, interval := average(1, largest, a.Seed, "gates")
		if interval.High <= balanced {
			even = append(even, experts)
		} else {
			uneven = append(uneven, experts)
		}
		if experts == defaults.NExperts {
			figure, around = mean.largest, interval
		}
		row := []float64{float64(experts), mean.largest, interval.Low, interval.High, 100 * mean.entropy, mean.loss}
		for _, d := range mean.dropped {
			row = append(row, 100*d)
		}
		for n := range 2 {
			m := overGates(of[1+n][:])
			row = append(row, m.largest, 100*m.dropped[0])
			if n == 1 && experts == defaults.NExperts {
				offset = m.largest
			}
		}
		curve.add(append(row, roundRobin(tokens, defaults.TopK, experts))...)
	}
	f.Curve, f.Figure, f.Interval = curve, &figure, &around
	f.Unit = fmt.Sprintf("largest load over the mean, of %d experts", defaults.NExperts)
	f.Verdict = balanceVerdict(around.High, len(even))
	var text []string
	for _, l := range layers {
		text = append(text, fmt.Sprintf("%.2f", l))
	}
	f.Note = fmt.Sprintf("%s: %d tokens, as they go into the feed-forward part of %d layers, by %d gates drawn with the module's deviation, top %d; the means are over gates and layers. Even is up to %v of the mean, within the interval: so it is with %s experts, and not with %s. With %d experts the layers, from the first, have %s, and less the mean of their inputs %.2f in all. Nothing in Route balances: the loss is for whoever trains the gate, and these are not trained. Gaussian are as many rows with each column's mean and deviation, centred are the inputs less that mean, through the same gates; round robin is places in turn",
		a.Subject.Name, tokens, len(inputs), balanceGates, defaults.TopK, balanced, listed(even), listed(uneven), defaults.NExperts, strings.Join(text, ", "), offset)
	return nil
}

// listed are numbers with commas between.
func listed(numbers []int) string {
	if len(numbers) == 0 {
		return "no number of"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ", "), "[]")
}

// balanceVerdict is by the upper end of the figure's interval, and how many numbers of
// experts are even.
func balanceVerdict(high float64, even int) Verdict {
	switch {
	case high <= balanced:
		return Supported
	case even > 0:
		return Conditional
	default:
		return Refuted
	}
}

// add adds a share of another's figures.
func (b *balance) add(o *balance, share float64) {
	b.largest += float64(share * o.largest)
	b.entropy += float64(share * o.entropy)
	b.loss += float64(share * o.loss)
	if b.dropped == nil {
		b.dropped = make([]float64, len(o.dropped))
	}
	for i, d := range o.dropped {
		b.dropped[i] += float64(share * d)
	}
}

func overGates(list []balance) (mean balance) {
	for g := range list {
		mean.add(&list[g], 1/float64(len(list)))
	}
	return mean
}
