package audit

import (
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// dataImages are the photographs below a data folder, and dataSheet is 24 frames that
// follow each other, in four rows of six.
var dataImages = []string{
	"images/skimage-astronaut.png", "images/skimage-coffee.png", "images/stdlib-airplane-from-above.jpg",
	"images/stdlib-black-canyon.jpg", "images/stdlib-march-pastoral.jpg", "images/stdlib-nagasaki-boats.jpg",
}

const dataSheet = "images/stdlib-locomotion-house-cat.jpg"

// mostPixels is what an image may have: one that says it is larger is not decoded.
const mostPixels = 1 << 26

// readImage reads a PNG or JPEG below a data folder in grey. Its errors name the file;
// one that is not there is fs.ErrNotExist.
func readImage(dir, name string) (*image.Gray, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	config, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, reject(name, "a PNG or JPEG image", err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > mostPixels/config.Height {
		return nil, reject(name, fmt.Sprintf("an image of 1 to %d pixels", mostPixels), fmt.Sprintf("%d×%d", config.Width, config.Height))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	picture, _, err := image.Decode(f)
	if err != nil {
		return nil, reject(name, "a whole image", err)
	}
	grey := image.NewGray(image.Rect(0, 0, picture.Bounds().Dx(), picture.Bounds().Dy()))
	draw.Draw(grey, grey.Bounds(), picture, picture.Bounds().Min, draw.Src)
	return grey, nil
}

// readImages reads those of some images that are there.
func readImages(dir string, names []string) (images []*image.Gray, found []string, err error) {
	for _, name := range names {
		picture, err := readImage(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		images, found = append(images, picture), append(found, name)
	}
	return images, found, nil
}

// picture writes a PNG file into the folder that was asked for, if one was.
func (a *Audit) picture(name string, picture image.Image) error {
	if a.Pictures == "" {
		return nil
	}
	if err := os.MkdirAll(a.Pictures, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(a.Pictures, name))
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, picture), f.Close())
}

// darkened is a picture whose patches of size×size pixels are dark but for those that
// are kept, which are numbered row by row. Pixels beyond the last whole patch are left
// out.
func darkened(picture *image.Gray, size int, kept []int) *image.Gray {
	across, down := picture.Rect.Dx()/size, picture.Rect.Dy()/size
	bright := make([]bool, across*down)
	for _, k := range kept {
		bright[k] = true
	}
	out := image.NewGray(image.Rect(0, 0, across*size, down*size))
	for y := range down * size {
		for x := range across * size {
			v := picture.GrayAt(picture.Rect.Min.X+x, picture.Rect.Min.Y+y)
			if !bright[y/size*across+x/size] {
				v.Y /= 4
			}
			out.SetGray(x, y, v)
		}
	}
	return out
}
