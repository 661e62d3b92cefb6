package adapter

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/squishspec/squishspec/spec/wire"
)

// FrameSchema is the JSON Schema of a frame's metadata.
//
//go:embed frame.schema.json
var FrameSchema []byte

// commands are the requests that there are.
var commands = []string{"hello", "new", "call", "time", "close", "stop"}

// schemas returns the schema's definitions, by name.
var schemas = sync.OnceValue(func() map[string]*jsonschema.Schema {
	const url = "frame.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(FrameSchema))
	compiler := jsonschema.NewCompiler()
	compiler.AssertContent()
	if err == nil {
		err = compiler.AddResource(url, document)
	}
	if err != nil {
		panic("adapter: " + url + ": " + err.Error()) // it is part of the program
	}
	all := map[string]*jsonschema.Schema{}
	define := func(names ...string) {
		for _, name := range names {
			all[name] = compiler.MustCompile(url + "#/$defs/" + name)
		}
	}
	for _, cmd := range commands {
		define("request-" + cmd)
		if cmd != "stop" { // which has no answer
			define("answer-" + cmd)
		}
	}
	define(string(rejected), string(unsupported), string(failed))
	return all
})

// ValidateRequest holds a request to the schema. An error is a line.
func ValidateRequest(frame *wire.Frame) error {
	return validate(frame, "cmd", "request-"+frame.Metadata["cmd"])
}

// ValidateAnswer holds an answer to a command to the schema. An error is a line.
func ValidateAnswer(cmd string, frame *wire.Frame) error {
	definition := frame.Metadata["status"]
	if definition == string(ok) {
		definition = "answer-" + cmd
	}
	return validate(frame, "status", definition)
}

// validate holds a frame to a definition, which its value of a key has named.
func validate(frame *wire.Frame, key, definition string) error {
	schema := schemas()[definition]
	if schema == nil {
		return fmt.Errorf("%s: want one of the protocol's, got %s", key, quoted(frame.Metadata, key))
	}
	value := map[string]any{}
	for name, text := range frame.Metadata {
		value[name] = text
	}
	err := schema.Validate(value)
	if err == nil {
		return nil
	}
	// Value by value first: the library loses its place in JSON within a string.
	for _, name := range slices.Sorted(maps.Keys(frame.Metadata)) {
		if property := schema.Properties[name]; property != nil {
			if err := property.Validate(frame.Metadata[name]); err != nil {
				return fmt.Errorf("%s: not of the protocol's form: %s", name, inALine(err))
			}
		}
	}
	return fmt.Errorf("not of the protocol's form: %s", inALine(err))
}

// inALine is a validation error without its first line, which names the schema.
func inALine(err error) string {
	lines := strings.Split(err.Error(), "\n")[1:]
	for i := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(lines[i]), "- "), "at '': ")
	}
	return fmt.Sprintf("%.400s", strings.Join(lines, "; "))
}
