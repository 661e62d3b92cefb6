package audit

import (
	"bytes"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func encoded(t *testing.T, picture image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadImageIsGrey(t *testing.T) {
	dir := t.TempDir()
	picture := image.NewRGBA(image.Rect(3, 5, 5, 6))
	picture.Set(3, 5, color.RGBA{255, 255, 255, 255})
	picture.Set(4, 5, color.RGBA{0, 255, 0, 255})
	if err := os.WriteFile(filepath.Join(dir, "a.png"), encoded(t, picture), 0o666); err != nil {
		t.Fatal(err)
	}
	images, found, err := readImages(dir, []string{"none.png", "a.png"})
	if err != nil || !slices.Equal(found, []string{"a.png"}) {
		t.Fatal(found, err)
	}
	if got := images[0]; got.Rect != image.Rect(0, 0, 2, 1) || !slices.Equal(got.Pix[:2], []uint8{255, 150}) {
		t.Errorf("%v: %v", got.Rect, got.Pix)
	}
	if _, err := readImage(dir, "none.png"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestReadImageRejects(t *testing.T) {
	whole := encoded(t, image.NewGray(image.Rect(0, 0, 64, 64)))
	enormous := bytes.Clone(whole) // by what its header says, with a sum that is right
	copy(enormous[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0})
	sum := crc32.ChecksumIEEE(enormous[12:29])
	copy(enormous[29:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "a PNG or JPEG image"},
		{[]byte("no image"), "a PNG or JPEG image"},
		{whole[:len(whole)-20], "a whole image"},
		{enormous, "65536×65536"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bad.png"), c.data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := readImage(dir, "bad.png")
		if spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "bad.png") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want one line on %s", err, c.want)
		}
	}
}

func TestDarkenedLeavesWhatIsKept(t *testing.T) {
	picture := image.NewGray(image.Rect(0, 0, 5, 4))
	for i := range picture.Pix {
		picture.Pix[i] = 200
	}
	got := darkened(picture, 2, []int{0, 3})
	want := []uint8{200, 200, 50, 50, 200, 200, 50, 50, 50, 50, 200, 200, 50, 50, 200, 200}
	if got.Rect != image.Rect(0, 0, 4, 4) || !slices.Equal(got.Pix, want) {
		t.Errorf("%v: %v", got.Rect, got.Pix)
	}
}
