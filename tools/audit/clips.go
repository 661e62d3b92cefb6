package audit

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/squishspec/squishspec/spec"
)

// dataClips is the folder of raw clips below a data folder.
const dataClips = "video"

// clipPatch is the side of a patch of a clip, in pixels.
const clipPatch = 16

// mostVideo is how many bytes all raw clips may have: one that is too much is not read.
const mostVideo = 1 << 26

// mostPatches is how many a frame may have: finding the nearest that is kept takes each
// with each.
const mostPatches = 1 << 12

// A clip is a film in grey, frames of width×height pixels, row by row.
type clip struct {
	name          string
	width, height int
	frames        [][]uint8
}

// patches are the clip's whole patches (frames, patches, 256), row by row, grey as a
// share of white. Pixels beyond the last whole patch are left out.
func (c *clip) patches() (x spec.Heads) {
	across, down := c.width/clipPatch, c.height/clipPatch
	x.Resize(len(c.frames), across*down, clipPatch*clipPatch)
	x.Data = x.Data[:0]
	for _, frame := range c.frames {
		for p := range across * down {
			for row := range clipPatch {
				at := (p/across*clipPatch+row)*c.width + p%across*clipPatch
				for _, v := range frame[at : at+clipPatch] {
					x.Data = append(x.Data, float32(v)/255)
				}
			}
		}
	}
	return x
}

// picture is frame t.
func (c *clip) picture(t int) *image.Gray {
	return &image.Gray{Pix: c.frames[t], Stride: c.width, Rect: image.Rect(0, 0, c.width, c.height)}
}

// readClips reads the raw clips below a data folder, by name, and the sheet if it is
// there. Without a raw clip it is fs.ErrNotExist.
func readClips(dir string) (clips []*clip, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, dataClips))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, reject(dataClips, "a folder", err)
	}
	left := int64(mostVideo)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".raw" {
			continue
		}
		c, err := readRaw(dir, dataClips+"/"+e.Name(), left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(c.frames) * c.width * c.height)
		clips = append(clips, c)
	}
	if len(clips) == 0 {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, dataClips, "*.raw"), Err: fs.ErrNotExist}
	}
	sheet, err := readImage(dir, dataSheet)
	if errors.Is(err, fs.ErrNotExist) {
		return clips, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := cutSheet(sheet)
	return append(clips, c), err
}

// rawName has a raw clip's width and height, and may have its frames a second and how
// many they are.
var rawName = regexp.MustCompile(`^.*_([0-9]{1,4})x([0-9]{1,4})(?:_[0-9]+fps)?(?:_([0-9]{1,8})f)?\.raw$`)

// readRaw reads frames of a byte a pixel, up to so many bytes. Its errors name the file.
func readRaw(dir, name string, most int64) (*clip, error) {
	sizes := rawName.FindStringSubmatch(name)
	if sizes == nil {
		return nil, reject(name, "a name with width and height, as clip_192x144.raw", "none")
	}
	c := &clip{name: name}
	c.width, _ = strconv.Atoi(sizes[1]) // of four digits at most
	c.height, _ = strconv.Atoi(sizes[2])
	frames, _ := strconv.Atoi(sizes[3]) // of eight, where there are any
	if c.width < clipPatch || c.height < clipPatch {
		return nil, reject(name, fmt.Sprintf("frames of at least %d×%d pixels", clipPatch, clipPatch), fmt.Sprintf("%d×%d", c.width, c.height))
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	size, frame := info.Size(), int64(c.width*c.height)
	switch {
	case !info.Mode().IsRegular():
		return nil, reject(name, "a file", "another thing")
	case c.width/clipPatch*(c.height/clipPatch) > mostPatches:
		return nil, reject(name, fmt.Sprintf("frames of at most %d patches of %d×%d", mostPatches, clipPatch, clipPatch), fmt.Sprintf("%d×%d pixels", c.width, c.height))
	case size > most:
		return nil, reject(name, fmt.Sprintf("at most %d bytes, of %d in all", most, mostVideo), size)
	case size%frame != 0 || size < 2*frame:
		return nil, reject(name, fmt.Sprintf("two frames or more of %d×%d bytes, whole ones", c.width, c.height), fmt.Sprintf("%d bytes", size))
	case sizes[3] != "" && int64(frames) != size/frame:
		return nil, reject(name, sizes[3]+" frames, as it is named", size/frame)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pixels := make([]uint8, size)
	if _, err := io.ReadFull(f, pixels); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for ; len(pixels) > 0; pixels = pixels[frame:] {
		c.frames = append(c.frames, pixels[:frame:frame])
	}
	return c, nil
}

// cutSheet cuts dataSheet into its frames, of 10×6 patches, clear of the dark borders,
// which are not quite of one width.
func cutSheet(sheet *image.Gray) (*clip, error) {
	if sheet.Rect.Dx() != 1024 || sheet.Rect.Dy() != 510 {
		return nil, reject(dataSheet, "the sheet of 1024×510 pixels", fmt.Sprintf("%d×%d", sheet.Rect.Dx(), sheet.Rect.Dy()))
	}
	c := &clip{name: dataSheet, width: 160, height: 96}
	for _, top := range []int{17, 142, 267, 397} {
		for _, left := range []int{12, 178, 346, 514, 683, 852} {
			var frame []uint8
			for y := top; y < top+c.height; y++ {
				at := sheet.PixOffset(left, y)
				frame = append(frame, sheet.Pix[at:at+c.width]...)
			}
			c.frames = append(c.frames, frame)
		}
	}
	return c, nil
}

// drawnClips are a thing that moves before a fixed camera, a camera that pans, noise, and
// a scene that is cut to others. All but the noise have grain.
func drawnClips(seed uint64) []*clip {
	const width, height, frames, step, scenes = 96, 64, 80, 2, 10
	r := rand.New(rand.NewPCG(seed, 0xc11b5))
	film := func(name string, frame func(t int, pixels []uint8)) *clip {
		c := &clip{name: name, width: width, height: height}
		for t := range frames {
			pixels := make([]uint8, width*height)
			frame(t, pixels)
			c.frames = append(c.frames, pixels)
		}
		return c
	}
	still, wide := drawnScene(r, width, height), drawnScene(r, width+frames*step, height)
	var cuts []*image.Gray
	for range scenes {
		cuts = append(cuts, drawnScene(r, width, height))
	}
	return []*clip{
		film("fixed camera", func(t int, pixels []uint8) {
			copy(pixels, still.Pix)
			for y := 24; y < 40; y++ {
				for x := range 16 {
					pixels[y*width+(x+step*t)%width] = 250
				}
			}
			grain(r, pixels)
		}),
		film("pan", func(t int, pixels []uint8) {
			for y := range height {
				copy(pixels[y*width:(y+1)*width], wide.Pix[wide.PixOffset(step*t, y):])
			}
			grain(r, pixels)
		}),
		film("noise", func(_ int, pixels []uint8) {
			for i := range pixels {
				pixels[i] = uint8(r.IntN(256))
			}
		}),
		film("cuts", func(t int, pixels []uint8) {
			copy(pixels, cuts[t*scenes/frames].Pix)
			grain(r, pixels)
		}),
	}
}
