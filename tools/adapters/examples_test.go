package adapters

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The examples pass every requirement of what they offer.
func TestExamples(t *testing.T) {
	for _, example := range []struct {
		language *language
		source   string
		modules  string
	}{
		{python, "python/example.py", "4 of 28 modules"},
		{js, "js/example.js", "4 of 28 modules"},
		{cpp, "cpp/template.cpp", "1 of 28 modules"},
	} {
		t.Run(example.source, func(t *testing.T) {
			t.Parallel()
			command := example.language.command(t, example.source)
			source, err := filepath.Abs(example.source)
			if err != nil {
				t.Fatal(err)
			}
			if !example.language.compiled {
				command = []string{command[0], source}
			}
			result := run(t, t.TempDir(), nil, append([]string{needConform(t), "check", "--validate", "--checks", "5", "--"}, command...)...)
			result.succeeds(t)
			if lines := strings.Split(strings.TrimSpace(result.stdout), "\n"); !strings.HasSuffix(lines[len(lines)-1], example.modules) {
				t.Errorf("want a last line with %q:\n%s", example.modules, result.stdout)
			}
		})
	}
}

// The templates start, offer, and fail: nothing of them is filled in.
func TestTemplates(t *testing.T) {
	for _, template := range []struct {
		language *language
		source   string
	}{{python, "python/template.py"}, {js, "js/template.js"}} {
		t.Run(template.source, func(t *testing.T) {
			p := start(t, nil, template.language.command(t, template.source)...)
			p.refused(p.ask(map[string]string{"cmd": "new", "module": "ternary-quant", "args": `{"zero_threshold": -1}`}), "rejected", "invalid", "zero_threshold")
			h := p.open("ternary-quant", `{}`)
			for op, args := range map[string]string{"quantize": `{"weights": 1}`, "dequantize": `{"ternary": 1, "scale": 1}`, "stats": `{}`} {
				p.refused(p.call(h, op, args), "unsupported", "", op+" is not written yet")
			}
		})
	}
}

// The guide is done step by step, command by command.
func TestGuide(t *testing.T) {
	sections := readGuide(t)
	folder := t.TempDir()
	link := func(name, target string) {
		t.Helper()
		target, err := filepath.Abs(target)
		if err == nil {
			err = os.Symlink(target, filepath.Join(folder, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	link("golden", "../../golden")
	link("squishspec_adapter.py", "python/squishspec_adapter.py")
	link("squishspec_adapter.js", "js/squishspec_adapter.js")
	link("squishspec_adapter.hpp", "cpp/squishspec_adapter.hpp")
	link("template.cpp", "cpp/template.cpp")
	link("conform", needConform(t))

	// do runs a section's commands. A comment says how each ends.
	do := func(t *testing.T, l *language, s section) {
		path := folder + string(os.PathListSeparator) + os.Getenv("PATH")
		if l == python { // the one with numpy
			own := t.TempDir()
			if err := os.Symlink(python.need(t), filepath.Join(own, "python3")); err != nil {
				t.Fatal(err)
			}
			path = own + string(os.PathListSeparator) + path
		} else {
			l.need(t)
		}
		commands := 0
		for _, block := range s.blocks["sh"] {
			for line := range strings.Lines(block) {
				line, ending, _ := strings.Cut(strings.TrimSpace(line), "   # ")
				if few, ok := strings.CutPrefix(line, "conform check "); ok {
					line = "conform check --checks 5 " + few
				}
				result := run(t, folder, []string{"PATH=" + path}, "sh", "-c", line)
				commands++
				if fails := strings.HasPrefix(ending, "fails"); fails != (result.exit == 1) || !fails && result.exit != 0 {
					t.Errorf("%s: exit code %d, the guide says %q\n%s%s", line, result.exit, ending, last(result.stdout), last(result.stderr))
				}
			}
		}
		if commands == 0 {
			t.Error("no commands")
		}
	}

	body, end := "", ""
	for _, s := range sections {
		switch {
		case strings.HasPrefix(s.title, "Step "):
			t.Run(s.title, func(t *testing.T) {
				for _, block := range s.blocks["python"] {
					if strings.HasPrefix(block, "serve(") {
						end = block
					} else {
						body += "\n" + block
					}
				}
				write(t, filepath.Join(folder, "my_adapter.py"), body+end)
				do(t, python, s)
			})
		case s.title == "The same in JavaScript":
			t.Run(s.title, func(t *testing.T) {
				write(t, filepath.Join(folder, "my_adapter.js"), s.blocks["js"][0])
				do(t, js, s)
			})
		case s.title == "The same in C++":
			t.Run(s.title, func(t *testing.T) { do(t, cpp, s) })
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A section of the guide, with its blocks of code by language.
type section struct {
	title  string
	blocks map[string][]string
}

func readGuide(t *testing.T) []section {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var sections []section
	for i, part := range strings.Split(string(text), "\n## ") {
		title, rest, _ := strings.Cut(part, "\n")
		s := section{title, map[string][]string{}}
		for j, piece := range strings.Split(rest, "```") {
			if language, code, _ := strings.Cut(piece, "\n"); j%2 == 1 {
				s.blocks[language] = append(s.blocks[language], code)
			}
		}
		if i > 0 {
			sections = append(sections, s)
		}
	}
	return sections
}
