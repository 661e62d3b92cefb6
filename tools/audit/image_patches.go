package audit

import (
	"fmt"
	"image"
	"path"
	"strings"

	"golang.org/x/image/draw"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
)

// Of a photograph, the model sees a square of photoGrid² patches: the page's 196 tokens.
const (
	photoGrid = 14
	// shownSide is about how wide a picture of few pixels is shown.
	shownSide = 448
	// shownShapes is how many pictures are shown where there are no photographs.
	shownShapes = 3
)

// shownKept are the shares of patches kept that pictures are made of.
var shownKept = []float64{0.5, 0.3}

// photographs are squares of photoGrid² patches, and the files that they are of.
type photographs struct {
	squares []*image.Gray
	files   []string
}

// photographs reads those of the data folder that are there.
func (a *Audit) photographs() (p photographs, err error) {
	pictures, files, err := readImages(a.Data, dataImages)
	if err != nil {
		return p, err
	}
	for i, picture := range pictures {
		square := middleSquare(picture, photoGrid)
		if square.Rect.Empty() {
			return p, reject(files[i], fmt.Sprintf("a photograph of %d×%d pixels at least", photoGrid, photoGrid), fmt.Sprintf("%d×%d", picture.Rect.Dx(), picture.Rect.Dy()))
		}
		p.squares, p.files = append(p.squares, square), append(p.files, files[i])
	}
	return p, nil
}

// showPruned chooses patches of photographs, or, where there is no data folder, of a
// few of the pictures that were judged, writes what stays as pictures, and says how
// much of the photographs' detail that is.
func (a *Audit) showPruned(f *Finding, model *vision.Model, judged []vision.Labelled, photos photographs, choosers []chooser) (string, error) {
	if a.Data == "" {
		for i, p := range judged[:min(shownShapes, len(judged))] {
			attention, err := attentionTo(model, p.Picture)
			if err != nil {
				return "", err
			}
			scale := shownSide / p.Picture.Rect.Dx()
			large := image.NewGray(image.Rect(0, 0, scale*p.Picture.Rect.Dx(), scale*p.Picture.Rect.Dy()))
			draw.NearestNeighbor.Scale(large, large.Rect, p.Picture, p.Picture.Rect, draw.Src, nil)
			if _, err := a.showKept(fmt.Sprintf("shape-%d", i+1), i, large, scale*model.Config.Patch, attention, choosers); err != nil {
				return "", err
			}
		}
		return "", nil
	}
	if len(photos.files) == 0 {
		return " The data folder has no photographs to look at.", nil
	}
	var kept [][]float64 // by photograph, then share and chooser
	for i, square := range photos.squares {
		seen := image.NewGray(image.Rect(0, 0, photoGrid*model.Config.Patch, photoGrid*model.Config.Patch))
		draw.CatmullRom.Scale(seen, seen.Rect, square, square.Rect, draw.Src, nil)
		attention, err := attentionTo(model, seen)
		if err != nil {
			return "", err
		}
		_, name, _ := strings.Cut(strings.TrimSuffix(path.Base(photos.files[i]), path.Ext(photos.files[i])), "-")
		detail, err := a.showKept(name, i, square, square.Rect.Dx()/photoGrid, attention, choosers)
		if err != nil {
			return "", err
		}
		kept = append(kept, detail)
	}
	f.Evidence = append(f.Evidence, photos.files...)
	var said []string
	at := 0
	for _, share := range shownKept {
		var shares []string
		for _, ch := range choosers {
			var of []float64
			for _, photo := range kept {
				of = append(of, photo[at])
			}
			mean, interval := average(100, of, a.Seed, "photographs")
			shares = append(shares, fmt.Sprintf("%.0f%% by %s (%s)", mean, ch.name, interval.Text("%.0f")))
			at++
		}
		said = append(said, fmt.Sprintf("with %.0f%% of the patches %s", 100*share, strings.Join(shares, ", ")))
	}
	return fmt.Sprintf(" Of the detail of photographs, the variance within patches, stay %s: %d photographs, bootstrapped, of %d patches each, of which this model has seen none.", strings.Join(said, "; "), len(photos.files), photoGrid*photoGrid), nil
}

// showKept writes a picture for each share and chooser, and returns how much of its
// detail each keeps.
func (a *Audit) showKept(name string, number int, picture *image.Gray, patch int, attention spec.Heads, choosers []chooser) (kept []float64, err error) {
	detail := patchDetail(picture, patch)
	for _, share := range shownKept {
		for _, ch := range choosers {
			patches, err := ch.choose(number, picture, patch, attention, 1-share)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", name, ch.name, err)
			}
			sum := 0.0
			for _, k := range patches {
				sum += detail[k]
			}
			kept = append(kept, sum/max(total(detail), 1))
			if err := a.picture(fmt.Sprintf("image-%s-%s-%.0f.png", name, ch.name, 100*share), darkened(picture, patch, patches)); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// attentionTo is that of the layer behind which patches go.
func attentionTo(model *vision.Model, picture *image.Gray) (spec.Heads, error) {
	s := model.Session()
	var x spec.Matrix
	if err := s.Embed(&x, picture); err != nil {
		return spec.Heads{}, err
	}
	for layer := range judgedLayer {
		s.Layer(&x, layer)
	}
	return s.Attention, nil
}

// middleSquare is the largest square around a picture's middle whose side is a multiple
// of n.
func middleSquare(picture *image.Gray, n int) *image.Gray {
	w, h := picture.Rect.Dx(), picture.Rect.Dy()
	side := min(w, h) / n * n
	corner := picture.Rect.Min.Add(image.Pt((w-side)/2, (h-side)/2))
	return picture.SubImage(image.Rectangle{corner, corner.Add(image.Pt(side, side))}).(*image.Gray)
}
