package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const metadataKey = "__metadata__"

// A header is a frame's header as it is written, its offsets not yet checked.
type header struct {
	metadata map[string]string
	tensors  []headerTensor
}

type headerTensor struct {
	name       string
	dtype      DType
	shape      []int
	begin, end uint64
}

// parseHeader parses a header token by token and refuses what is not of its form
// at the first token that is not: nothing nests deeper than the form does.
func parseHeader(text []byte) (*header, error) {
	if !utf8.Valid(text) {
		return nil, format("header: not UTF-8")
	}
	if hasLoneSurrogate(text) {
		return nil, format("header: half a surrogate pair")
	}
	if text[0] != '{' {
		return nil, format("header: want '{' at its beginning, got %q", text[0])
	}
	// Only spaces fill a header up.
	text = bytes.TrimRight(text, " ")
	if text[len(text)-1] != '}' {
		return nil, format("header: want '}' at its end, got %q", text[len(text)-1])
	}
	p := parser{json.NewDecoder(bytes.NewReader(text))}
	p.UseNumber()
	h := &header{}
	seen := map[string]bool{}
	err := p.object("header", func(name string) error {
		if seen[name] {
			return format("header: %q stands twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			return p.metadata(h)
		}
		return p.tensor(h, name)
	})
	if err != nil {
		return nil, err
	}
	if token, err := p.Token(); err != io.EOF {
		return nil, format("header: want its end, got %v", token)
	}
	return h, nil
}

// hasLoneSurrogate reports whether an escape in JSON text is half of a surrogate
// pair. The decoder would put U+FFFD for it, and two names could become one.
func hasLoneSurrogate(text []byte) bool {
	escape := func(i int) rune {
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if r := escape(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, escape(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++
	}
	return false
}

// A parser reads tokens of a header.
type parser struct{ *json.Decoder }

func (p parser) token(what string) (json.Token, error) {
	token, err := p.Token()
	if err != nil {
		return nil, format("%s: %v", what, err)
	}
	return token, nil
}

// object reads an object whose values the callback reads, key by key.
func (p parser) object(what string, value func(key string) error) error {
	if err := p.delim(what, '{'); err != nil {
		return err
	}
	for p.More() {
		key, err := p.text(what)
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim(what, '}')
}

func (p parser) delim(what string, want json.Delim) error {
	token, err := p.token(what)
	if err != nil {
		return err
	}
	if token != want {
		return format("%s: want %v, got %v", what, want, token)
	}
	return nil
}

func (p parser) text(what string) (string, error) {
	token, err := p.token(what)
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", format("%s: want a string, got %v", what, token)
	}
	return s, nil
}

func (p parser) metadata(h *header) error {
	h.metadata = map[string]string{}
	return p.object(metadataKey, func(key string) error {
		if _, twice := h.metadata[key]; twice {
			return format("%s: %q stands twice", metadataKey, key)
		}
		value, err := p.text(metadataKey + ": " + key)
		h.metadata[key] = value
		return err
	})
}

func (p parser) tensor(h *header, name string) error {
	t := headerTensor{name: name, shape: []int{}}
	what := "tensor " + strconv.Quote(name)
	seen := map[string]bool{}
	err := p.object(what, func(key string) error {
		if seen[key] {
			return format("%s: %s stands twice", what, key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			text, err := p.text(what + ": dtype")
			if t.dtype = DType(text); err == nil && t.dtype.Size() == 0 {
				err = format("%s: unknown dtype %q", what, text)
			}
			return err
		case "shape":
			return p.list(what+": shape", func(n uint64) error {
				if n > MaxFrame {
					return format("%s: shape: want at most %d, got %d", what, MaxFrame, n)
				}
				t.shape = append(t.shape, int(n))
				return nil
			})
		case "data_offsets":
			var offsets []uint64
			err := p.list(what+": data_offsets", func(n uint64) error {
				offsets = append(offsets, n)
				return nil
			})
			if err == nil && len(offsets) != 2 {
				err = format("%s: data_offsets: want 2 numbers, got %d", what, len(offsets))
			}
			if err == nil {
				t.begin, t.end = offsets[0], offsets[1]
			}
			return err
		}
		return format("%s: unknown key %q", what, key)
	})
	if err != nil {
		return err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return format("%s: no %s", what, key)
		}
	}
	h.tensors = append(h.tensors, t)
	return nil
}

// list reads a list of non-negative integers, written as digits.
func (p parser) list(what string, item func(uint64) error) error {
	if err := p.delim(what, '['); err != nil {
		return err
	}
	for p.More() {
		token, err := p.token(what)
		if err != nil {
			return err
		}
		number, ok := token.(json.Number)
		if !ok {
			return format("%s: want a number, got %v", what, token)
		}
		n, err := strconv.ParseUint(number.String(), 10, 64)
		if err != nil {
			return format("%s: want a whole number from 0, got %v", what, number)
		}
		if err := item(n); err != nil {
			return err
		}
	}
	return p.delim(what, ']')
}
