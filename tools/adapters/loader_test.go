package adapters

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/squishspec/squishspec/spec/wire"
)

// A loadedVector is what a loader made of a vector: its tensors as bytes.
type loadedVector struct {
	Metadata map[string]string
	Steps    json.RawMessage
	Tensors  map[string]struct {
		Shape []int
		Hex   string
	}
}

// The guide's loaders, with a line that shows all that they read, of every file that
// is named.
var loaderShows = map[*language]string{
	python: `
import sys
for path in sys.argv[1:]:
    metadata, steps, tensors = load(path)
    print(json.dumps({"Metadata": metadata, "Steps": steps, "Tensors": {name: {"Shape": t.shape, "Hex": t.tobytes().hex()} for name, t in tensors.items()}}))
`,
	js: `
for (const path of process.argv.slice(2)) {
  const { metadata, steps, tensors } = load(path);
  const shown = Object.entries(tensors).map(([name, { shape, data }]) => [name, { Shape: shape, Hex: Buffer.from(data.buffer).toString("hex") }]);
  console.log(JSON.stringify({ Metadata: metadata, Steps: steps, Tensors: Object.fromEntries(shown) }));
}
`,
}

// The loaders in the guide read every vector in golden as we do, in ten lines.
func TestLoaders(t *testing.T) {
	paths, err := filepath.Glob("../../golden/*/*/*.safetensors")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	var guide section
	for _, s := range readGuide(t) {
		if strings.HasPrefix(s.title, "Without an adapter") {
			guide = s
		}
	}
	for l, code := range map[*language][]string{python: guide.blocks["python"], js: guide.blocks["js"]} {
		t.Run(l.name, func(t *testing.T) {
			if len(code) != 1 {
				t.Fatalf("the guide has %d loaders", len(code))
			}
			lines := 0
			for line := range strings.Lines(code[0]) {
				if line = strings.TrimSpace(line); line != "" {
					lines++
				}
			}
			if lines > 11 {
				t.Errorf("the loader has %d lines", lines)
			}
			source := filepath.Join(t.TempDir(), "loader"+l.extension)
			write(t, source, code[0]+loaderShows[l])
			result := run(t, ".", nil, append([]string{l.need(t), source}, paths...)...)
			result.succeeds(t)
			shown := strings.Split(strings.TrimSpace(result.stdout), "\n")
			if len(shown) != len(paths) {
				t.Fatalf("%d of %d vectors were shown", len(shown), len(paths))
			}
			for i, path := range paths {
				checkLoaded(t, path, shown[i])
			}
		})
	}
}

func checkLoaded(t *testing.T, path, shown string) {
	t.Helper()
	var got loadedVector
	if err := json.Unmarshal([]byte(shown), &got); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := wire.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Metadata, got.Metadata); diff != "" {
		t.Errorf("%s: metadata: %s", path, diff)
	}
	var gotSteps, wantSteps any
	if json.Unmarshal(got.Steps, &gotSteps) != nil || json.Unmarshal([]byte(want.Metadata["steps"]), &wantSteps) != nil || !cmp.Equal(gotSteps, wantSteps) {
		t.Errorf("%s: steps: got %s", path, got.Steps)
	}
	if len(got.Tensors) != len(want.Tensors) {
		t.Errorf("%s: %d of %d tensors", path, len(got.Tensors), len(want.Tensors))
	}
	for _, tensor := range want.Tensors {
		if g := got.Tensors[tensor.Name]; !cmp.Equal(g.Shape, tensor.Shape) || g.Hex != hex.EncodeToString(tensor.Data) {
			t.Errorf("%s: %s: got %v, want %v %x", path, tensor.Name, g, tensor.Shape, tensor.Data)
		}
	}
}
