package fast

import (
	"math"
	"math/bits"

	"github.com/squishspec/squishspec/fast/internal/affine"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/spec"
)

// awqSteps is squish6's search for the step of each channel, sixteen channels at a time.
type awqSteps struct {
	config  *spec.AWQv2Config
	dst     *spec.AWQScales
	weights spec.Matrix
	means   []float64

	lowest  []float32 // of each column of weights
	largest []uint32  // the bits of its largest magnitude
	parts   []awqStepsPart
}

type awqStepsPart struct {
	panel  []float32
	grid   kern.PanelGrid
	lowest [kern.PanelColumns]float32
	least  [kern.PanelColumns]float64
	// Steps are first + k·apart, and the last one exactly last.
	first, apart, last [kern.PanelColumns]float64
	best               [kern.PanelColumns]int
}

func (s *awqSteps) run(config *spec.AWQv2Config, dst *spec.AWQScales, weights spec.Matrix, means []float64) {
	s.config, s.dst, s.weights, s.means = config, dst, weights, means
	cols := weights.Cols
	dst.Scales, dst.Shifts = spec.Resize(dst.Scales, cols), spec.Resize(dst.Shifts, cols)
	s.lowest, s.largest = spec.Resize(s.lowest, cols), spec.Resize(s.largest, cols)
	n, ns := channelPanels(cols), float64(config.NSearchSteps*weights.Rows)
	if parts := parallel.Parts(n, ns); parts > len(s.parts) {
		s.parts = append(s.parts, make([]awqStepsPart, parts-len(s.parts))...)
	}
	parallel.Run(s, n, ns)
}

func (s *awqSteps) Part(number, lo, hi int) {
	p := &s.parts[number]
	p.panel = spec.Resize(p.panel, s.weights.Rows*kern.PanelColumns)
	for panel := lo; panel < hi; panel++ {
		from, to := panelChannels(panel, panel+1, s.weights.Cols)
		kern.Panel(p.panel, s.weights.Data[from:], s.weights.Cols, s.weights.Rows, to-from, true)
		s.search(p, from, to)
	}
}

// search finds the steps of channels from…to−1, whose weights are in the panel.
func (s *awqSteps) search(p *awqStepsPart, from, to int) {
	lowest, largest := s.lowest[from:to], s.largest[from:to]
	for c := range lowest {
		lowest[c], largest[c] = float32(math.Inf(1)), 0
	}
	kern.ColumnMinima(lowest, p.panel, kern.PanelColumns, s.weights.Rows)
	kern.ColumnMaxima(largest, p.panel, kern.PanelColumns, s.weights.Rows)
	for c := range p.least {
		p.first[c], p.apart[c], p.last[c] = 1, 0, 1
		p.lowest[c], p.least[c], p.best[c] = 0, -1, -1 // no step is better
	}
	n := s.config.NSearchSteps
	for c, low := range lowest {
		first, last := awqStepRange(s.means[from+c])
		if last > 0x1p60 || largest[c] > math.Float32bits(0x1p60) {
			continue // squares of float32s might be beyond it
		}
		p.first[c], p.apart[c], p.last[c] = first, (last-first)/float64(n-1), last
		if n == 1 {
			p.apart[c], p.last[c] = 0, first
		}
		p.lowest[c], p.least[c] = low, math.Inf(1)
	}
	// From the last to the first, so that the first of equals remains.
	for k := n - 1; k >= 0; k-- {
		for c, first := range p.first {
			p.grid.Steps[c] = float32(first + float64(float64(k)*p.apart[c]))
		}
		if k == n-1 {
			for c, last := range p.last {
				p.grid.Steps[c] = float32(last)
			}
		}
		p.grid.Shift(&p.lowest, float32(s.config.QMax()))
		for lowered := kern.PanelErrors(&p.least, p.panel, &p.grid, 1); lowered != 0; lowered &= lowered - 1 {
			p.best[bits.TrailingZeros32(lowered)] = k
		}
	}
	for c, low := range lowest {
		k := p.best[c]
		if k < 0 {
			k = s.exact(p, from+c, c, float64(low))
		}
		s.dst.Scales[from+c] = awqStep(s.means[from+c], k, n)
		s.dst.Shifts[from+c] = float32(s.shift(float64(low), float64(s.dst.Scales[from+c])))
	}
}

// awqStepRange is the first and the last candidate for a mean activation.
func awqStepRange(mean float64) (first, last float64) { return max(0.1*mean, 1e-8), max(2*mean, 1e-7) }

// awqStep is candidate k of n.
func awqStep(mean float64, k, n int) float32 {
	first, last := awqStepRange(mean)
	switch k {
	case 0:
		return float32(first)
	case n - 1:
		return float32(last)
	}
	return float32(first + float64(float64(k)*((last-first)/float64(n-1))))
}

// shift is that of a step, for a column with that lowest weight.
func (s *awqSteps) shift(lowest, step float64) float64 {
	return max(0, min(float64(s.config.QMax()), math.RoundToEven(-lowest/step)))
}

// exact is the search in float64, for a column of the panel.
func (s *awqSteps) exact(p *awqStepsPart, channel, column int, lowest float64) (best int) {
	qMax, n := float64(s.config.QMax()), s.config.NSearchSteps
	least := math.Inf(1)
	for k := range n {
		step := float64(awqStep(s.means[channel], k, n))
		if math.IsInf(step, 0) {
			break // those to come are larger
		}
		shift, e := s.shift(lowest, step), 0.0
		for i := column; i < len(p.panel) && e < least; i += kern.PanelColumns {
			w := float64(p.panel[i])
			lost := w - (float64(affine.Code(w/step+shift, qMax))-shift)*step
			e += lost * lost
		}
		if e < least {
			best, least = k, e
		}
	}
	return best
}
