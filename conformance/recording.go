package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

// A ReplayReport is the outcome of a replay.
type ReplayReport struct {
	Passed, Failed int
	// Deviations are cases of a recording that are plainly wrong, each with its
	// reason; they fail, and are known to.
	Deviations []string
	// Failures say what differed, a line a case.
	Failures []string
	// Skipped are cases that the implementation does not offer, and modules that
	// this version does not specify.
	Skipped []string
}

// Summary is the replay in a line.
func (r *ReplayReport) Summary() string {
	return fmt.Sprintf("%d passed, %d failed, %d known deviations", r.Passed, r.Failed, len(r.Deviations))
}

// Replay replays a vector, a folder of vectors, or a folder with a recording, on
// an implementation. An error says what cannot be read; nothing is replayed then.
// Of the options only Timeout and Context count.
func Replay(impl spec.Implementation, path string, opts ...Option) (ReplayReport, error) {
	var report ReplayReport
	o := newOptions(opts)
	if err := impl.Validate(); err != nil {
		return report, err
	}
	cases, skipped, err := readCases(path)
	if err != nil {
		return report, err
	}
	report.Skipped = skipped
	contained := proxy.Wrap(impl, contain(o.timeout))
	lost := map[*module]int{}
	for _, c := range cases {
		if err := o.ctx.Err(); err != nil {
			return report, err
		}
		if !c.offered(&contained) {
			report.Skipped = append(report.Skipped, c.name+": not offered")
			continue
		}
		if lost[c.module] >= maxLost {
			report.Failed++
			report.Failures = append(report.Failures, fmt.Sprintf("%s: %s: not run: %d cases of the module crashed or timed out before", c.name, spec.Crashed, maxLost))
			continue
		}
		reason, known := c.module.deviations[c.name]
		err := c.judge(contained)
		if breach, ok := errors.AsType[*proxy.Breach](err); ok && isLost(breach.Symptom) {
			lost[c.module]++
		}
		switch {
		case known && err != nil && strings.Contains(err.Error(), c.module.deviatesIn):
			report.Deviations = append(report.Deviations, c.name+": "+reason)
		case known && err == nil:
			report.Failed++
			report.Failures = append(report.Failures, c.name+": a known deviation passes: "+reason)
		case err != nil:
			report.Failed++
			report.Failures = append(report.Failures, err.Error())
		default:
			report.Passed++
		}
	}
	return report, nil
}

// judge replays the case, and closes what it opened.
func (c *replayCase) judge(impl spec.Implementation) error {
	impl, instances := kept(impl)
	err := judge(impl, func(t *trial) { c.replay(t, c.name) })
	if breach, ok := errors.AsType[*proxy.Breach](err); ok {
		err = fmt.Errorf("%s: %w", c.name, breach)
		if isLost(breach.Symptom) {
			return err
		}
	}
	if lost := closeAll(*instances); lost != nil && err == nil {
		err = fmt.Errorf("%s: %w", c.name, lost)
	}
	return err
}

// readCases reads all cases before any is replayed, so that a torn folder gives
// no half verdict.
func readCases(path string) (cases []*replayCase, skipped []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		c, err := readVector(path)
		return []*replayCase{c}, nil, err
	}
	recordings, err := filepath.Glob(filepath.Join(path, "*.json"))
	if err != nil {
		return nil, nil, err
	}
	recordings = slices.DeleteFunc(recordings, func(p string) bool { return filepath.Base(p) == "index.json" })
	for _, file := range recordings {
		more, err := readRecording(file)
		var unknown notSpecified
		switch {
		case errors.As(err, &unknown):
			skipped = append(skipped, err.Error())
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		cases = append(cases, more...)
	}
	if len(recordings) > 0 {
		return cases, skipped, nil
	}
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".safetensors") {
			return err
		}
		c, err := readVector(file)
		cases = append(cases, c)
		return err
	})
	if err == nil && len(cases) == 0 {
		err = fmt.Errorf("%s: no recording (*.json) and no vector (*.safetensors) in it", path)
	}
	return cases, nil, err
}

func readVector(path string) (*replayCase, error) {
	frame, err := readFrame(path)
	if err != nil {
		return nil, err
	}
	c, err := replayed(frame)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.name = path
	return c, nil
}

func readFrame(path string) (*wire.Frame, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	reader := bytes.NewReader(data)
	frame, err := wire.Read(reader)
	if err == nil && reader.Len() > 0 {
		err = fmt.Errorf("%d bytes behind its end", reader.Len())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return frame, nil
}

// notSpecified is the module of a recording that this version does not know.
type notSpecified string

func (n notSpecified) Error() string {
	return string(n) + ": not specified by this version"
}

// readRecording reads <module>.json and the safetensors file beside it.
func readRecording(path string) ([]*replayCase, error) {
	var file struct {
		Module  string `json:"module"`
		Tensors string `json:"tensors"`
		Cases   []struct {
			Name   string          `json:"name"`
			Config json.RawMessage `json:"config"`
			Error  spec.ErrorKind  `json:"error"`
			Steps  []struct {
				Call    string          `json:"call"`
				Args    json.RawMessage `json:"args"`
				Returns json.RawMessage `json:"returns"`
				Error   spec.ErrorKind  `json:"error"`
			} `json:"steps"`
			Stats json.RawMessage `json:"stats"`
		} `json:"cases"`
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if !slices.Contains(spec.ModuleNames, file.Module) {
		return nil, fmt.Errorf("module: want one of the 28, got %q", file.Module)
	}
	m := spec.ModuleByName(file.Module)
	if m == nil {
		return nil, notSpecified(file.Module)
	}
	if file.Tensors != filepath.Base(file.Tensors) {
		return nil, fmt.Errorf("tensors: want the name of a file beside it, got %q", file.Tensors)
	}
	frame, err := readFrame(filepath.Join(filepath.Dir(path), file.Tensors))
	if err != nil {
		return nil, err
	}
	if len(file.Cases) == 0 {
		return nil, errors.New("it has no cases")
	}
	var cases []*replayCase
	for i, c := range file.Cases {
		own := &replayCase{
			module: moduleOf(m), name: fmt.Sprintf("%s/%s (case %d)", m.Name, c.Name, i), config: c.Config,
			refused: c.Error, stats: c.Stats, decoder: wire.Decoder{Module: m, Tensors: frame.Tensors},
		}
		if m.HasVariant(spec.Squish6) {
			own.variant = spec.Squish6
		}
		for _, s := range c.Steps {
			own.steps = append(own.steps, replayStep{s.Call, s.Args, s.Returns, s.Error})
		}
		cases = append(cases, own)
	}
	return cases, nil
}
