package audit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// Of 33×17 pixels there are two patches, beside each other, and a rest.
func TestPatchesOfAClip(t *testing.T) {
	c := &clip{width: 33, height: 17, frames: [][]uint8{make([]uint8, 33*17), make([]uint8, 33*17)}}
	c.frames[1][2*33+16] = 255 // row 2, the first column of the second patch
	c.frames[1][32], c.frames[1][16*33] = 255, 255
	x := c.patches()
	if x.Heads != 2 || x.Tokens != 2 || x.Dim != 256 || len(x.Data) != 2*2*256 {
		t.Fatalf("%d×%d×%d, %d elements", x.Heads, x.Tokens, x.Dim, len(x.Data))
	}
	for i, v := range x.Data {
		want := float32(0)
		if i == 2*256+256+2*16 {
			want = 1
		}
		if v != want {
			t.Errorf("element %d: %v, want %v", i, v, want)
		}
	}
}

func TestReadRaw(t *testing.T) {
	dir := t.TempDir()
	pixels := strings.Repeat("a", 320) + strings.Repeat("b", 320)
	for _, name := range []string{"c_20x16.raw", "c_20x16_5fps.raw", "c_20x16_2f.raw", "a_b_20x16_25fps_2f.raw"} {
		spoil(t, dir, "video/"+name, pixels)
		c, err := readRaw(dir, "video/"+name, mostVideo)
		if err != nil || c.width != 20 || c.height != 16 || len(c.frames) != 2 || string(c.frames[1]) != pixels[320:] {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for _, c := range []struct{ name, pixels, want string }{
		{"c.raw", pixels, "a name with width and height"},
		{"c_20.raw", pixels, "a name with width and height"},
		{"c_20x16_wide.raw", pixels, "a name with width and height"},
		{"c_20000x16.raw", pixels, "a name with width and height"},
		{"c_20x16_5f_5fps.raw", pixels, "a name with width and height"},
		{"c_15x16.raw", pixels, "at least 16×16 pixels, got 15×16"},
		{"c_16x0.raw", pixels, "at least 16×16 pixels, got 16×0"},
		{"c_20x16.raw", pixels[1:], "two frames or more of 20×16 bytes, whole ones, got 639 bytes"},
		{"c_20x16.raw", pixels + "c", "two frames or more"},
		{"c_20x16.raw", pixels[320:], "two frames or more"},
		{"c_20x16.raw", "", "two frames or more"},
		{"c_20x17.raw", pixels, "two frames or more of 20×17"},
		{"c_20x16_3f.raw", pixels, "3 frames, as it is named, got 2"},
		{"c_2048x2048.raw", pixels, "at most 4096 patches of 16×16, got 2048×2048"},
	} {
		dir := t.TempDir()
		spoil(t, dir, "video/"+c.name, c.pixels)
		_, err := readRaw(dir, "video/"+c.name, mostVideo)
		if spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line on %s", c.name, err, c.want)
		}
	}
}

// A file that says it is enormous is not read, nor are two that are so together, nor is
// what is no file.
func TestAnEnormousClipIsRefused(t *testing.T) {
	dir := t.TempDir()
	spoil(t, dir, "video/c_16x16.raw", "")
	if err := os.Truncate(filepath.Join(dir, "video", "c_16x16.raw"), 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := readRaw(dir, "video/c_16x16.raw", mostVideo); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "at most") {
		t.Error(err)
	}
	for _, name := range []string{"c_16x16.raw", "d_16x16.raw"} {
		spoil(t, dir, "video/"+name, "")
		if err := os.Truncate(filepath.Join(dir, "video", name), mostVideo/2+256); err != nil {
			t.Skip(err)
		}
	}
	if _, err := readClips(dir); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "d_16x16.raw: want at most") {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "video", "e_16x16.raw"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := readRaw(dir, "video/e_16x16.raw", mostVideo); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "a file") {
		t.Error(err)
	}
}

func TestTheSheetIsCut(t *testing.T) {
	sheet := image.NewGray(image.Rect(0, 0, 1024, 510))
	sheet.Pix[sheet.PixOffset(852, 397)] = 7    // the last frame's first pixel
	sheet.Pix[sheet.PixOffset(178+159, 17)] = 8 // the second's first row, the last pixel
	c, err := cutSheet(sheet)
	if err != nil || len(c.frames) != 24 || len(c.frames[0]) != 160*96 || c.frames[23][0] != 7 || c.frames[1][159] != 8 {
		t.Errorf("%v", err)
	}
	if _, err := cutSheet(image.NewGray(image.Rect(0, 0, 1023, 510))); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), dataSheet) {
		t.Error(err)
	}
}

func TestReadClips(t *testing.T) {
	dir := t.TempDir()
	if _, err := readClips(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	spoil(t, dir, "video/README", "no clip")
	if _, err := readClips(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	spoil(t, dir, "video/b_16x16.raw", strings.Repeat("b", 512))
	spoil(t, dir, "video/a_16x16.raw", strings.Repeat("a", 768))
	clips, err := readClips(dir)
	if err != nil || len(clips) != 2 || clips[0].name != "video/a_16x16.raw" || len(clips[0].frames) != 3 {
		t.Error(clips, err)
	}
	spoil(t, dir, dataSheet, "no image")
	if clips, err := readClips(dir); spec.KindOf(err) != spec.Invalid || clips != nil {
		t.Error(clips, err)
	}
	spoil(t, dir, dataSheet, string(encoded(t, image.NewGray(image.Rect(0, 0, 1024, 510)))))
	if clips, err := readClips(dir); err != nil || len(clips) != 3 || clips[2].name != dataSheet {
		t.Error(clips, err)
	}
	spoil(t, dir, dataSheet, string(encoded(t, image.NewGray(image.Rect(0, 0, 10, 10)))))
	if clips, err := readClips(dir); spec.KindOf(err) != spec.Invalid {
		t.Error(clips, err)
	}
}

func TestDrawnClips(t *testing.T) {
	clips, again := drawnClips(1), drawnClips(1)
	for i, least := range []float64{0.7, 0, 0, 0.8} {
		x := clips[i].patches()
		if !slices.Equal(x.Data, again[i].patches().Data) {
			t.Errorf("%s: two of one seed differ", clips[i].name)
		}
		all := changes(x)
		share := stillShare(all)
		if slices.Min(all) == 0 {
			t.Errorf("%s: a patch has no grain", clips[i].name)
		}
		if fixed := least > 0; fixed && share < least || !fixed && share > 0.3 {
			t.Errorf("%s: %.2f are still", clips[i].name, share)
		}
	}
	if slices.Equal(clips[0].frames[0], drawnClips(2)[0].frames[0]) {
		t.Error("two seeds draw one clip")
	}
}

func TestGrain(t *testing.T) {
	pixels := slices.Repeat([]uint8{100}, 3000)
	grain(rand.New(rand.NewPCG(1, 1)), pixels)
	for v := 99; v <= 101; v++ {
		if n := count(equalTo(pixels, uint8(v))); n < 900 || n > 1100 {
			t.Errorf("%d pixels of 3000 are %d", n, v)
		}
	}
}

func equalTo(pixels []uint8, v uint8) (equal []bool) {
	for _, p := range pixels {
		equal = append(equal, p == v)
	}
	return equal
}

// An independent program has 83% of the animated film, 44% of the car and 86% of the
// street still; by this one's mean it is 87% of the last.
func TestStillSharesOfClips(t *testing.T) {
	clips, err := readClips(dataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0.83, 0.437, 0.874, 0} {
		if got := stillShare(changes(clips[i].patches())); math.Abs(got-want) > 0.0005 {
			t.Errorf("%s: %.4f, want %.4f", clips[i].name, got, want)
		}
	}
}

func TestClipsAreChecked(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(videoTokens).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("no file: %v, %v", err, f.Verdict)
	}
	spoil(t, a.Data, "video/a_16x16.raw", strings.Repeat("a", 512))
	spoil(t, a.Data, "video/b.raw", fmt.Sprint(a))
	f = &Finding{}
	refused(t, f, videoTokens(context.Background(), a, f), "video/b.raw")
}

// Three frames are one sample, whatever they show.
func TestFewFramesSayNothing(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	r := rand.New(rand.NewPCG(1, 4))
	frame := make([]byte, 64*48)
	for i := range frame {
		frame[i] = byte(r.Uint32())
	}
	spoil(t, a.Data, "video/still_64x48.raw", strings.Repeat(string(frame), 3))
	f := &Finding{}
	if err := videoTokens(context.Background(), a, f); err != nil || f.Verdict != Refuted {
		t.Errorf("%v, %v", err, f.Verdict)
	}
}
