package fast

import (
	"math"
	"math/bits"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/spec"
)

// NewQuantCalib returns an optimised spec.QuantCalib, or an error of kind
// spec.Invalid for a config out of range.
//
// The largest magnitudes come from one pass in the order of memory, which shows
// besides whether all is finite. The other methods copy sixteen channels at a time to
// a panel, whose columns are lanes from there on: a percentile is found bit by bit,
// and most clip bounds are given up early. The cores share the panels; memory is 64
// bytes a sample and core.
func NewQuantCalib(config spec.QuantCalibConfig) (spec.QuantCalib, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &quantCalib{config: config}, nil
}

type quantCalib struct {
	config spec.QuantCalibConfig
	stats  spec.QuantCalibStats

	// Scratch.
	measuring calibMeasuring
	search    calibSearch
}

func (q *quantCalib) Calibrate(dst *spec.QuantCalibration, activations spec.Matrix) error {
	if !q.measuring.run(activations) {
		return q.config.CheckActivations(activations)
	}
	scales := 1
	if q.config.PerChannel {
		scales = activations.Cols
	}
	dst.Scales = spec.Resize(dst.Scales, scales)
	dst.Method, dst.NBits = q.config.Method, q.config.NBits
	if q.config.Method == spec.CalibrateMinMax && q.config.PerChannel {
		q.minMax(dst.Scales)
	} else {
		q.search.run(&q.config, activations, q.measuring.largest)
		q.fromBounds(dst.Scales, activations.Cols)
	}
	q.stats.Calibrations++
	q.stats.Channels += activations.Cols
	return nil
}

// minMax writes the scales of the largest magnitudes. A quotient of float32s is the same
// whether it is rounded at once or through float64.
func (q *quantCalib) minMax(scales []float32) {
	boundCode := float32(q.config.BoundCode())
	for channel, m := range q.measuring.largest {
		scale := math.Float32frombits(m) / boundCode
		if scale == 0 {
			scale = 1
		}
		scales[channel] = scale
	}
}

// fromBounds writes the scales of the clip bounds that were found, or their one scale.
func (q *quantCalib) fromBounds(scales []float32, channels int) {
	boundCode := q.config.BoundCode()
	sum, most := 0.0, 0.0 // of the scales
	for channel, bound := range q.search.bounds {
		scale := bound / boundCode
		most = max(most, scale)
		sum += calibScale(scale)
		if q.config.PerChannel {
			scales[channel] = float32(calibScale(scale))
		}
	}
	if !q.config.PerChannel {
		if q.config.Variant == spec.Squish6 {
			most = sum / float64(channels)
		}
		scales[0] = float32(calibScale(most))
	}
}

func (q *quantCalib) Stats() spec.QuantCalibStats { return q.stats }

// calibScale returns the scale, or 1 where it would be published as 0.
func calibScale(scale float64) float64 {
	if float32(scale) == 0 {
		return 1
	}
	return scale
}

// channelPanels is the number of panels of so many channels, and panelChannels those of
// panels lo…hi−1.
func channelPanels(channels int) int { return (channels-1)/kern.PanelColumns + 1 }

func panelChannels(lo, hi, channels int) (from, to int) {
	return lo * kern.PanelColumns, min(hi*kern.PanelColumns, channels)
}

// calibMeasuring finds the largest magnitude of every channel.
type calibMeasuring struct {
	x       spec.Matrix
	largest []uint32 // the bits of each channel's largest magnitude
}

// run reports false for a matrix that is empty, contradicts itself or is not finite:
// the bits of infinities and NaNs are above those of all numbers, so that they are the
// largest.
func (m *calibMeasuring) run(x spec.Matrix) bool {
	if len(x.Data) == 0 || spec.CheckMatrix("quant-calib", "activations", x, -1, -1) != nil {
		return false
	}
	m.x, m.largest = x, spec.Resize(m.largest, x.Cols)
	parallel.Run(m, channelPanels(x.Cols), float64(x.Rows))
	return slices.Max(m.largest) < kern.Infinite
}

// calibRows is how many rows are taken at a time: their pages are in the table of
// addresses while the columns pass by.
const calibRows = 16

func (m *calibMeasuring) Part(_, lo, hi int) {
	from, to := panelChannels(lo, hi, m.x.Cols)
	largest := m.largest[from:to]
	clear(largest)
	for r := 0; r < m.x.Rows; r += calibRows {
		kern.ColumnMaxima(largest, m.x.Data[r*m.x.Cols+from:], m.x.Cols, min(calibRows, m.x.Rows-r))
	}
}

// calibSearch finds the clip bound of every channel.
type calibSearch struct {
	config  *spec.QuantCalibConfig
	x       spec.Matrix
	largest []uint32
	bounds  []float64

	panels []calibPanel // one a part
}

func (s *calibSearch) run(config *spec.QuantCalibConfig, x spec.Matrix, largest []uint32) {
	s.config, s.x, s.largest = config, x, largest
	s.bounds = spec.Resize(s.bounds, x.Cols)
	for c, m := range largest {
		s.bounds[c] = float64(math.Float32frombits(m))
	}
	if config.Method == spec.CalibrateMinMax {
		return
	}
	const passes = 30 // that each method takes over a panel, more or less
	n, ns := channelPanels(x.Cols), passes*float64(x.Rows)
	if parts := parallel.Parts(n, ns); parts > len(s.panels) {
		s.panels = append(s.panels, make([]calibPanel, parts-len(s.panels))...)
	}
	parallel.Run(s, n, ns)
}

func (s *calibSearch) Part(number, lo, hi int) {
	p := &s.panels[number]
	p.magnitudes = spec.Resize(p.magnitudes, s.x.Rows*kern.PanelColumns)
	for panel := lo; panel < hi; panel++ {
		from, to := panelChannels(panel, panel+1, s.x.Cols)
		kern.Panel(p.magnitudes, s.x.Data[from:], s.x.Cols, s.x.Rows, to-from, false)
		if bounds := s.bounds[from:to]; s.config.Method == spec.CalibrateMSE {
			p.leastError(bounds, s.config.BoundCode())
		} else {
			p.percentiles(bounds, s.config.Percentile)
		}
	}
}

// A calibPanel has the magnitudes of up to sixteen channels, and what is found of each.
type calibPanel struct {
	magnitudes []float32

	values, above, counts [kern.PanelColumns]uint32 // bits
	grid                  kern.PanelGrid
	least, most           [kern.PanelColumns]float64
	best                  [kern.PanelColumns]int
}

// percentiles lowers bounds, the largest magnitudes, to the percentile, where it is not
// 0. It is interpolated linearly between the two samples next to its position.
func (p *calibPanel) percentiles(bounds []float64, percentile float64) {
	samples := len(p.magnitudes) / kern.PanelColumns
	position := float64(percentile / 100 * float64(samples-1))
	below := int(position)
	fraction := position - float64(below)
	p.rank(below)
	if fraction > 0 {
		kern.PanelNext(&p.above, p.magnitudes, &p.values)
		for c := range p.values {
			p.values[c]++
		}
		kern.PanelBelow(&p.counts, p.magnitudes, &p.values)
		for c := range p.values {
			p.values[c]--
			if int(p.counts[c]) > below+1 {
				p.above[c] = p.values[c]
			}
		}
	} else {
		p.above = p.values
	}
	for c := range bounds {
		value, next := float64(math.Float32frombits(p.values[c])), float64(math.Float32frombits(p.above[c]))
		if v := value + float64(fraction*(next-value)); v > 0 {
			bounds[c] = v
		}
	}
}

// rank sets values to the magnitudes that so many are below, with those that are equal
// in any order: the largest bits that no more are below, from the highest bit down.
func (p *calibPanel) rank(below int) {
	clear(p.values[:])
	for bit := uint32(1 << 30); bit > 0; bit >>= 1 {
		for c := range p.values {
			p.values[c] |= bit
		}
		kern.PanelBelow(&p.counts, p.magnitudes, &p.values)
		for c, n := range p.counts {
			if int(n) > below {
				p.values[c] &^= bit
			}
		}
	}
}

// Magnitudes beyond these are scaled before they are squared in float32.
const calibSmall, calibLarge = 0x1p-40, 0x1p60

// leastError lowers bounds, the largest magnitudes, to the clip bounds of least squared
// error, the narrowest ones of equals. The widest is tried first, and a narrower one
// given up once it errs more in all channels: one far too narrow clips so much that a
// few samples show it.
func (p *calibPanel) leastError(bounds []float64, boundCode float64) {
	for c := range p.least {
		p.grid.Steps[c], p.least[c] = 1, -1 // no bound is better: they do not matter
		p.grid.Low[c], p.grid.High[c] = 0, float32(math.RoundToEven(boundCode))
	}
	for c, largest := range bounds {
		if largest == 0 {
			continue
		}
		if largest < calibSmall || largest > calibLarge {
			largest = p.scale(c, largest)
		}
		p.grid.Steps[c], p.least[c] = float32(largest/boundCode), math.Inf(1)
	}
	const last = spec.CalibrationBounds - 1
	share := func(i int) float64 { return float64(last+9*i) / (10 * last) }
	for i := last; i >= 0; i-- {
		lowered := kern.PanelErrors(&p.least, p.magnitudes, &p.grid, float32(share(i)))
		if lowered == 0 && i%4 == 0 && p.clipsTooMuch(float32(share(i))) {
			break
		}
		for ; lowered != 0; lowered &= lowered - 1 {
			p.best[bits.TrailingZeros32(lowered)] = i
		}
	}
	for c := range bounds {
		if bounds[c] > 0 {
			bounds[c] *= share(p.best[c])
		}
	}
}

// clipsTooMuch reports whether what lies beyond a bound alone errs more than the least
// error, in all channels: then so does every narrower bound. What lies within errs by at
// most half a step each.
func (p *calibPanel) clipsTooMuch(share float32) bool {
	samples := float64(len(p.magnitudes) / kern.PanelColumns)
	for c, least := range p.least {
		half := float64(p.grid.Steps[c]*share) / 2
		p.most[c] = least
		if least >= 0 {
			p.most[c] += samples * half * half
		}
	}
	return kern.PanelErrors(&p.most, p.magnitudes, &p.grid, share) == 0
}

// scale multiplies a channel by a power of two, so that its largest magnitude is from 1
// to 2, and returns that.
func (p *calibPanel) scale(channel int, largest float64) float64 {
	power := math.Ldexp(1, -math.Ilogb(largest))
	for i := channel; i < len(p.magnitudes); i += kern.PanelColumns {
		p.magnitudes[i] = float32(float64(p.magnitudes[i]) * power)
	}
	return largest * power
}
