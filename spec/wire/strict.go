package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// checkJSON refuses JSON that readers understand differently: encoding/json takes
// the last of two equal keys, and puts U+FFFD for what is not UTF-8.
func checkJSON(raw json.RawMessage) error {
	switch {
	case !utf8.Valid(raw):
		return errors.New("bytes that are not UTF-8")
	case hasLoneSurrogate(raw):
		return errors.New("half a surrogate pair")
	case !json.Valid(raw): // which also bounds the nesting
		return errors.New(shorten(raw))
	}
	// An object's keys stand at even positions among its tokens.
	type level struct {
		keys  map[string]bool // nil in a list
		items int
	}
	levels := []level{{}}
	tokens := json.NewDecoder(bytes.NewReader(raw))
	tokens.UseNumber()
	for {
		token, err := tokens.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		top := &levels[len(levels)-1]
		if key, ok := token.(string); ok && top.keys != nil && top.items%2 == 0 {
			if top.keys[key] {
				return fmt.Errorf("the key %.40q twice", key)
			}
			top.keys[key] = true
		}
		top.items++
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{keys: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		}
	}
}
