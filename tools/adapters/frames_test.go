package adapters

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/squishspec/squishspec/spec/wire"
)

// A peer is a running adapter, spoken to frame by frame.
type peer struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
	stderr *lockedBuffer
	id     int
}

// A lockedBuffer is written to while the adapter runs, and read when a test fails.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// start starts an adapter. It is killed when the test ends, or after a minute.
func start(t *testing.T, environment []string, command ...string) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command(command[0], command[1:]...), stderr: &lockedBuffer{}}
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watch := time.AfterFunc(time.Minute, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		watch.Stop()
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return p
}

// send sends one frame.
func (p *peer) send(metadata map[string]string, tensors ...wire.Tensor) {
	p.t.Helper()
	if err := wire.Write(p.stdin, &wire.Frame{Metadata: metadata, Tensors: tensors}); err != nil {
		p.t.Fatalf("%v: %v\nstderr: %s", metadata, err, p.stderr)
	}
}

// ask sends a frame under a new id and returns the answer to it.
func (p *peer) ask(metadata map[string]string, tensors ...wire.Tensor) *wire.Frame {
	p.t.Helper()
	p.id++
	metadata["id"] = strconv.Itoa(p.id)
	p.send(metadata, tensors...)
	answer, err := wire.Read(p.stdout)
	if err != nil {
		p.t.Fatalf("%v: %v\nstderr: %s", metadata, err, p.stderr)
	}
	if answer.Metadata["id"] != metadata["id"] {
		p.t.Fatalf("%v: answer %v has another id", metadata, answer.Metadata)
	}
	return answer
}

// open makes an instance and returns its handle.
func (p *peer) open(module, config string, tensors ...wire.Tensor) string {
	p.t.Helper()
	answer := p.ask(map[string]string{"cmd": "new", "module": module, "args": config}, tensors...)
	p.has(answer, "ok", "")
	return answer.Metadata["handle"]
}

// call makes a call.
func (p *peer) call(handle, op, args string, tensors ...wire.Tensor) *wire.Frame {
	p.t.Helper()
	return p.ask(map[string]string{"cmd": "call", "handle": handle, "op": op, "args": args}, tensors...)
}

// has checks an answer's status and, where it is not "", its out.
func (p *peer) has(answer *wire.Frame, status, out string) {
	p.t.Helper()
	if got := answer.Metadata["status"]; got != status {
		p.t.Fatalf("status %s, want %s: %v\nstderr: %s", got, status, answer.Metadata, p.stderr)
	}
	if out != "" {
		p.same(answer.Metadata["out"], out)
	}
}

// same checks that two JSON texts say the same.
func (p *peer) same(got, want string) {
	p.t.Helper()
	parse := func(text string) (v any) {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&v); err != nil {
			p.t.Fatalf("%q: %v", text, err)
		}
		return v
	}
	if diff := cmp.Diff(parse(want), parse(got)); diff != "" {
		p.t.Errorf("got %s, want %s:\n%s", got, want, diff)
	}
}

// refused checks a refusal's kind, and that it says why.
func (p *peer) refused(answer *wire.Frame, status, kind, message string) {
	p.t.Helper()
	p.has(answer, status, "")
	if answer.Metadata["kind"] != kind || !strings.Contains(answer.Metadata["message"], message) {
		p.t.Errorf("got %v, want kind %q and a message with %q", answer.Metadata, kind, message)
	}
}

// ends waits for the process and checks its exit code.
func (p *peer) ends(exit int) {
	p.t.Helper()
	if rest, err := io.ReadAll(p.stdout); err != nil || len(rest) > 0 {
		p.t.Errorf("stdout ends with %q, %v", rest, err)
	}
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != exit {
		p.t.Errorf("exit code %d, want %d; stderr: %s", got, exit, p.stderr)
	}
}

// echo starts the language's adapter that answers with what it was asked.
func echo(t *testing.T, l *language) *peer {
	t.Helper()
	return start(t, []string{"LIBRARY=" + l.library(t)}, l.command(t, filepath.Join("testdata", "echo"+l.extension))...)
}

func eachLanguage(t *testing.T, test func(*testing.T, *language)) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) { test(t, l) })
	}
}

func TestHello(t *testing.T) {
	eachLanguage(t, func(t *testing.T, l *language) {
		p := echo(t, l)
		p.send(map[string]string{"cmd": "hello", "protocol": "1", "spec": "0.1"})
		answer, err := wire.Read(p.stdout)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"status": "ok", "protocol": "1", "name": "echo", "version": "1.0", "language": l.name}
		for key, value := range want {
			if answer.Metadata[key] != value {
				t.Errorf("%s: got %q, want %q", key, answer.Metadata[key], value)
			}
		}
		p.same(answer.Metadata["offers"], `["echo", "echo/shout"]`)
		p.same(answer.Metadata["unit_roundoff"], "0.25")
		if _, given := answer.Metadata["id"]; given {
			t.Error("an answer has an id that was not asked for")
		}

		other := p.ask(map[string]string{"cmd": "hello", "protocol": "2", "spec": "9"})
		p.refused(other, "error", "", "want 1, got 2")
		if other.Metadata["protocol"] != "1" {
			t.Errorf("the answer to another version does not say its own: %v", other.Metadata)
		}
	})
}

func TestCommands(t *testing.T) {
	eachLanguage(t, func(t *testing.T, l *language) {
		p := echo(t, l)
		h := p.open("echo", `{}`)
		p.has(p.call(h, "echo", `{}`), "ok", `{"value": null, "greeting": "hello"}`)
		p.has(p.call(h, "echo", `{"value": null}`), "ok", `{"value": null, "greeting": "hello"}`)
		p.has(p.ask(map[string]string{"cmd": "call", "handle": h, "op": "echo"}), "ok", `{"value": null, "greeting": "hello"}`)
		other := p.open("echo", `{"greeting": "good day"}`)
		p.has(p.call(other, "echo", `{}`), "ok", `{"value": null, "greeting": "good day"}`)
		nulled := p.open("echo", `{"greeting": null}`)
		p.has(p.call(nulled, "echo", `{}`), "ok", `{"value": null, "greeting": "hello"}`)

		p.refused(p.ask(map[string]string{"cmd": "new", "module": "echo", "args": `{"greeting": ""}`}), "rejected", "range", "greeting")
		p.refused(p.ask(map[string]string{"cmd": "new", "module": "nothing", "args": `{}`}), "unsupported", "", "nothing")
		p.refused(p.ask(map[string]string{"cmd": "dance"}), "unsupported", "", "dance")
		p.refused(p.call(h, "nothing", `{}`), "unsupported", "", "nothing")
		p.refused(p.call(h, "lacks", `{}`), "unsupported", "", "lacking")
		p.refused(p.call(h, "constructor", `{}`), "unsupported", "", "constructor")
		p.refused(p.call(h, "__init__", `{}`), "unsupported", "", "__init__")
		p.refused(p.call(h, "fail", `{}`), "error", "", "failed")
		p.refused(p.call(h, "unsendable", `{}`), "error", "", "")
		p.refused(p.call("h99", "echo", `{}`), "error", "", "h99")
		p.refused(p.call(h, "echo", `{"value": {"tensor": "lost"}}`), "error", "", "lost")
		p.refused(p.call(h, "echo", `{"value": `), "error", "", "")

		// After all of that it still answers.
		answer := p.ask(map[string]string{"cmd": "time", "handle": h, "op": "echo", "args": `{"value": 1}`, "repeat": "3"})
		p.has(answer, "ok", "")
		var times struct{ NS []float64 }
		if err := json.Unmarshal([]byte(answer.Metadata["out"]), &times); err != nil || len(times.NS) != 3 {
			t.Errorf("time: got %v, %v, want three times", answer.Metadata, err)
		}
		p.refused(p.ask(map[string]string{"cmd": "time", "handle": h, "op": "lacks", "args": `{}`, "repeat": "3"}), "unsupported", "", "lacking")

		p.has(p.ask(map[string]string{"cmd": "close", "handle": h}), "ok", "")
		p.refused(p.call(h, "echo", `{}`), "error", "", h)
		p.has(p.call(other, "echo", `{}`), "ok", `{"value": null, "greeting": "good day"}`)
		p.send(map[string]string{"cmd": "stop"})
		if answer, err := wire.Read(p.stdout); err != nil || answer.Metadata["status"] != "ok" {
			t.Errorf("stop: %v, %v", answer, err)
		}
		p.ends(0)
	})
}

// Every dtype and shape comes back bit for bit, under whatever place it stands in.
func TestTensors(t *testing.T) {
	signalling := binary.LittleEndian.AppendUint32(nil, 0x7fa00001)
	minusZero := binary.LittleEndian.AppendUint32(nil, 0x80000000)
	numbers := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(37*i + 5)
		}
		return out
	}
	tensors := []wire.Tensor{
		{Name: "a", DType: wire.F32, Shape: []int{2}, Data: append(signalling, minusZero...)},
		{Name: "b.c", DType: wire.F64, Shape: []int{1, 2, 1}, Data: numbers(16)},
		{Name: "é\"\\\n😀", DType: wire.I64, Shape: []int{3}, Data: numbers(24)},
		{Name: "i32", DType: wire.I32, Shape: []int{2, 3}, Data: numbers(24)},
		{Name: "i16", DType: wire.I16, Shape: []int{5}, Data: numbers(10)},
		{Name: "i8", DType: wire.I8, Shape: []int{3}, Data: numbers(3)},
		{Name: "u8", DType: wire.U8, Shape: []int{7}, Data: numbers(7)},
		{Name: "bool", DType: wire.Bool, Shape: []int{3}, Data: []byte{1, 0, 1}},
		{Name: "empty", DType: wire.F32, Shape: []int{0}},
		{Name: "hollow", DType: wire.F32, Shape: []int{2, 0, 3}},
	}
	eachLanguage(t, func(t *testing.T, l *language) {
		p := echo(t, l)
		h := p.open("echo", `{}`)
		for _, in := range tensors {
			name, _ := json.Marshal(in.Name)
			answer := p.call(h, "echo", `{"value": [1, {"within": {"tensor": `+string(name)+`}}]}`, in)
			p.has(answer, "ok", "")
			if len(answer.Tensors) != 1 {
				t.Fatalf("%s: %d tensors came back", in.Name, len(answer.Tensors))
			}
			out := answer.Tensors[0]
			outName, _ := json.Marshal(out.Name)
			p.same(answer.Metadata["out"], `{"greeting": "hello", "value": [1, {"within": {"tensor": `+string(outName)+`}}]}`)
			if out.DType != in.DType || !cmp.Equal(out.Shape, in.Shape) || !bytes.Equal(out.Data, in.Data) {
				t.Errorf("%s: sent %v %v %x, got %v %v %x", in.Name, in.DType, in.Shape, in.Data, out.DType, out.Shape, out.Data)
			}
		}
	})
}

// Halves may come back as the float32 of the same value.
func TestHalves(t *testing.T) {
	tensors := []struct {
		dtype wire.DType
		bits  []uint16
		want  []float32
	}{
		{wire.F16, []uint16{0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x8000, 0x7c00, 0xfc00}, []float32{1, -2, 65504, 0x1p-24, 0x1p-14, 0,
			float32(math.Inf(1)), float32(math.Inf(-1))}},
		{wire.BF16, []uint16{0x3f80, 0xc000, 0x7f7f, 0x0001, 0x7f80}, []float32{1, -2, 0x1.fep127, 0x1p-133, float32(math.Inf(1))}},
	}
	for _, l := range []*language{python, js} { // C++ hands out the bytes
		t.Run(l.name, func(t *testing.T) {
			p := echo(t, l)
			h := p.open("echo", `{}`)
			for _, c := range tensors {
				var data []byte
				for _, bits := range c.bits {
					data = binary.LittleEndian.AppendUint16(data, bits)
				}
				answer := p.call(h, "echo", `{"value": {"tensor": "x"}}`, wire.Tensor{Name: "x", DType: c.dtype, Shape: []int{len(c.bits)}, Data: data})
				p.has(answer, "ok", "")
				out := answer.Tensors[0]
				if out.DType == c.dtype {
					if !bytes.Equal(out.Data, data) {
						t.Errorf("%s: sent %x, got %x", c.dtype, data, out.Data)
					}
					continue
				}
				got := make([]float32, len(c.bits))
				if err := binary.Read(bytes.NewReader(out.Data), binary.LittleEndian, got); err != nil || out.DType != wire.F32 || !cmp.Equal(got, c.want) {
					t.Errorf("%s: got %s %v, want %v", c.dtype, out.DType, got, c.want)
				}
			}
		})
	}
}

func TestScalars(t *testing.T) {
	eachLanguage(t, func(t *testing.T, l *language) {
		p := echo(t, l)
		h := p.open("echo", `{}`)
		for _, value := range []string{`true`, `[]`, `{}`, `[1, [2, "x"], {"y": null}]`, `"é\"\\\n\u001f😀"`, `{"é": [false]}`, `""`, `"\ud83d\ude00"`} {
			p.has(p.call(h, "echo", `{"value": `+value+`}`), "ok", `{"greeting": "hello", "value": `+value+`}`)
		}
		// A float may be written as a whole number, however long.
		for x, twice := range map[string]float64{"0.25": 0.5, "-3": -6, "1e+300": 2e300, "600000000000000000000": 1.2e21, "9007199254740993": 18014398509481984} {
			answer := p.call(h, "double", `{"x": `+x+`}`)
			p.has(answer, "ok", "")
			var out struct{ Twice float64 }
			if err := json.Unmarshal([]byte(answer.Metadata["out"]), &out); err != nil || math.Abs(out.Twice-twice) > 1e-15*math.Abs(twice) {
				t.Errorf("2·%s: got %v, %v", x, out.Twice, err)
			}
		}
		// A tensor of shape [] is a number.
		answer := p.call(h, "double", `{"x": {"tensor": "x"}}`, wire.Tensor{Name: "x", DType: wire.F32, Shape: []int{}, Data: binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1.5))})
		p.has(answer, "ok", `{"twice": `+map[bool]string{true: "-3", false: "-3.0"}[l != python]+`}`)
		// Whole numbers are exact over all of int64.
		p.has(p.call(h, "next", `{"pos": 9223372036854775806}`), "ok", `{"pos": 9223372036854775807}`)
		p.has(p.call(h, "next", `{"pos": -9007199254740994}`), "ok", `{"pos": -9007199254740993}`)

		answer = p.call(h, "limits", `{}`)
		p.has(answer, "ok", "")
		var out map[string]json.RawMessage
		if err := json.Unmarshal([]byte(answer.Metadata["out"]), &out); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"nan": math.NaN(), "least": math.Inf(-1), "single": math.Inf(1)}
		if len(answer.Tensors) != len(want) {
			t.Errorf("%d tensors for %d numbers", len(answer.Tensors), len(want))
		}
		for _, tensor := range answer.Tensors {
			var got float64
			if err := binary.Read(bytes.NewReader(tensor.Data), binary.LittleEndian, &got); err != nil || tensor.DType != wire.F64 || len(tensor.Shape) != 0 {
				t.Errorf("%s: %s %v, %v", tensor.Name, tensor.DType, tensor.Shape, err)
			}
			if w := want[tensor.Name]; got != w && !(math.IsNaN(got) && math.IsNaN(w)) {
				t.Errorf("%s: got %v, want %v", tensor.Name, got, w)
			}
			p.same(string(out[tensor.Name]), `{"tensor": "`+tensor.Name+`"}`)
		}
	})
}

// What an implementation prints goes to stderr, and no answer suffers.
func TestPrinting(t *testing.T) {
	eachLanguage(t, func(t *testing.T, l *language) {
		p := echo(t, l)
		h := p.open("echo", `{}`)
		p.has(p.call(h, "shout", `{}`), "ok", `{}`)
		p.has(p.call(h, "echo", `{"value": 1}`), "ok", `{"greeting": "hello", "value": 1}`)
		p.stdin.Close()
		p.ends(0)
		for _, want := range []string{"shouted\n", "shouted louder\n"} {
			if !strings.Contains(p.stderr.String(), want) {
				t.Errorf("stderr has no %q: %q", want, p.stderr)
			}
		}
	})
}

// Bytes that are no frame end an adapter, with a line that says what was read.
func TestNoFrame(t *testing.T) {
	frame := func(header string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	}
	inputs := map[string][]byte{
		"half a length":         {1, 2, 3},
		"a header of nothing":   make([]byte, 8),
		"a header of 2⁶³ bytes": {0, 0, 0, 0, 0, 0, 0, 0x80},
		"a header of 2²⁰+1":     binary.LittleEndian.AppendUint64(nil, wire.MaxHeader+1),
		"half a header":         frame(`{"__metadata__": {}}`)[:12],
		"no JSON":               frame(`{"__metadata__": `),
		"a list":                frame(`[1]`),
		"a gigabyte and more":   frame(`{"x": {"dtype": "U8", "shape": [1073741824], "data_offsets": [0, 1073741824]}}`),
		"an endless tensor":     frame(`{"x": {"dtype": "U8", "shape": [8], "data_offsets": [0, 9223372036854775807]}}`),
		"half a tensor":         append(frame(`{"x": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}`), 1, 2),
		"another shape":         append(frame(`{"x": {"dtype": "U8", "shape": [9], "data_offsets": [0, 8]}}`), make([]byte, 8)...),
		"another dtype":         append(frame(`{"x": {"dtype": "U9", "shape": [8], "data_offsets": [0, 8]}}`), make([]byte, 8)...),
		"no shape":              append(frame(`{"x": {"dtype": "U8", "data_offsets": [0, 8]}}`), make([]byte, 8)...),
	}
	eachLanguage(t, func(t *testing.T, l *language) {
		command := l.command(t, filepath.Join("testdata", "echo"+l.extension))
		for what, input := range inputs {
			t.Run(what, func(t *testing.T) {
				p := start(t, []string{"LIBRARY=" + l.library(t)}, command...)
				p.stdin.Write(input)
				p.stdin.Close()
				p.ends(1)
				if lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], "echo: not a frame: ") {
					t.Errorf("stderr: %q", p.stderr)
				}
			})
		}
	})
}
