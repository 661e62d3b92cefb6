package audit

import (
	"fmt"
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// leastNats is where the axis of nats begins: what costs less is drawn there.
const leastNats = 0.001

// WritePlot draws what methods cost in quality against what they take, as SVG: a
// point a method, and a line through those that no other beats in both. Both axes
// are logarithmic.
func (r *Report) WritePlot(w io.Writer) error {
	p := plot.New()
	p.Title.Text = r.Header.Subject + ": quality against bytes"
	p.X.Label.Text = fmt.Sprintf("bits a weight, of what was serialised (nats below %v are drawn there)", leastNats)
	p.Y.Label.Text = "nats a token that it costs"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(ticks(1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)), plot.ConstantTicks(ticks(0.001, 0.01, 0.1, 1, 10))
	p.Add(plotter.NewGrid())
	byModule := map[string]plotter.XYs{}
	var modules []string
	var all plotter.XYs
	for _, row := range r.Rows {
		// What is not of the model's weights has no place beside the others.
		if row.Skipped != "" || row.NearestWorse == nil || row.Cloze == nil {
			continue
		}
		if byModule[row.Module] == nil {
			modules = append(modules, row.Module)
		}
		point := plotter.XY{X: row.BitsPerWeight, Y: max(row.Worse.By, leastNats)}
		byModule[row.Module] = append(byModule[row.Module], point)
		all = append(all, point)
	}
	line, err := plotter.NewLine(pareto(all))
	if err != nil {
		return err
	}
	line.Color = color.Gray{160}
	p.Add(line)
	for i, m := range modules {
		points, err := plotter.NewScatter(byModule[m])
		if err != nil {
			return err
		}
		points.GlyphStyle = draw.GlyphStyle{Color: palette[i%len(palette)], Radius: vg.Points(3.5), Shape: shapes[i%len(shapes)]}
		p.Add(points)
		p.Legend.Add(m, points)
	}
	p.Legend.Left, p.Legend.XOffs = true, 14*vg.Centimeter // thumbnails before their text
	p.Legend.Padding = vg.Millimeter
	p.Legend.TextStyle.Font.Size = vg.Points(9)
	canvas := vgsvg.New(20*vg.Centimeter, 14*vg.Centimeter)
	p.Draw(draw.New(canvas))
	_, err = canvas.WriteTo(w)
	return err
}

// ticks are labelled marks of an axis.
func ticks(values ...float64) (list []plot.Tick) {
	for _, v := range values {
		list = append(list, plot.Tick{Value: v, Label: fmt.Sprint(v)})
	}
	return list
}

var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}}

// palette is Okabe and Ito's, which those who see red and green alike can tell apart.
var palette = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
	color.RGBA{230, 159, 0, 255}, color.RGBA{86, 180, 233, 255}, color.RGBA{0, 0, 0, 255},
}

// pareto returns the points that no other is below and left of, from left to right.
func pareto(points plotter.XYs) plotter.XYs {
	var best plotter.XYs
	for _, p := range points {
		beaten := false
		for _, q := range points {
			beaten = beaten || q.X <= p.X && q.Y <= p.Y && q != p
		}
		if !beaten {
			best = append(best, p)
		}
	}
	for i := range best { // few: sorted by insertion
		for k := i; k > 0 && best[k].X < best[k-1].X; k-- {
			best[k], best[k-1] = best[k-1], best[k]
		}
	}
	return best
}
