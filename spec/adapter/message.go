package adapter

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// Version is the version of the protocol.
const Version = 1

// A status begins every answer.
type status string

const (
	ok          status = "ok"
	rejected    status = "rejected"    // the call was refused, as the specification may want
	unsupported status = "unsupported" // the implementation does not have this
	failed      status = "error"       // the adapter itself failed
)

// A hello is what an adapter says of itself.
type hello struct {
	name, version, language string
	unitRoundoff            float64 // 0 where it says none
	offers                  []string
}

func (h *hello) String() string {
	return fmt.Sprintf("%s %s (%s) with %d offers", h.name, h.version, h.language, len(h.offers))
}

func (h *hello) metadata() (map[string]string, error) {
	offers, err := json.Marshal(h.offers)
	if err != nil {
		return nil, err
	}
	m := map[string]string{
		"status": string(ok), "protocol": strconv.Itoa(Version),
		"name": h.name, "version": h.version, "language": h.language, "offers": string(offers),
	}
	if h.unitRoundoff > 0 {
		m["unit_roundoff"] = strconv.FormatFloat(h.unitRoundoff, 'g', -1, 64)
	}
	return m, nil
}

// parseHello reads the answer to hello. Names of modules that a later
// specification may have are left out of the offers.
func parseHello(frame *wire.Frame) (*hello, error) {
	m := frame.Metadata
	if got, spoken := m["protocol"]; got != strconv.Itoa(Version) && (spoken || m["status"] == string(ok)) {
		return nil, fmt.Errorf("protocol: want %d, got %s", Version, quoted(m, "protocol"))
	}
	if m["status"] != string(ok) {
		return nil, fmt.Errorf("status: want ok, got %s%s", quoted(m, "status"), because(m))
	}
	h := &hello{name: m["name"], version: m["version"], language: m["language"], offers: []string{}}
	if text, given := m["unit_roundoff"]; given {
		var err error
		if h.unitRoundoff, err = strconv.ParseFloat(text, 64); err != nil || !(h.unitRoundoff > 0 && h.unitRoundoff < 1) {
			return nil, fmt.Errorf("unit_roundoff: want a number between 0 and 1, got %.40q", text)
		}
	}
	var offers []string
	if err := json.Unmarshal([]byte(m["offers"]), &offers); err != nil {
		return nil, fmt.Errorf("offers: want a list of modules, got %s", quoted(m, "offers"))
	}
	for _, entry := range offers {
		if name := moduleName(entry); spec.ModuleByName(name) != nil || !slices.Contains(spec.ModuleNames, name) {
			h.offers = append(h.offers, entry)
		}
	}
	if len(h.offers) == 0 {
		return nil, fmt.Errorf("offers: want modules that specification %s has, got %s", spec.Version, quoted(m, "offers"))
	}
	return h, nil
}

// moduleName returns the module of an offer: a module, module:variant or
// module/operation.
func moduleName(offer string) string {
	name, _, _ := strings.Cut(offer, "/")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// quoted shows a value of a frame's metadata.
func quoted(metadata map[string]string, key string) string {
	value, given := metadata[key]
	if !given {
		return "none"
	}
	return fmt.Sprintf("%.60q", value)
}

// because is what a refusal gives as its reason.
func because(metadata map[string]string) string {
	if metadata["message"] == "" {
		return ""
	}
	return ": " + metadata["message"]
}

// rejection is the error of an answer that refuses a call.
func rejection(metadata map[string]string) error {
	message := metadata["message"]
	if message == "" {
		message = "refused without a message"
	}
	return &spec.Rejection{Kind: spec.ErrorKind(metadata["kind"]), Message: message}
}

// times reads the answer to time: how long each call took, in nanoseconds.
func times(frame *wire.Frame, repeat int) ([]float64, error) {
	var out struct {
		NS []float64 `json:"ns"`
	}
	if err := json.Unmarshal([]byte(frame.Metadata["out"]), &out); err != nil || len(out.NS) != repeat {
		return nil, fmt.Errorf("out: want ns, a list of %d times, got %s", repeat, quoted(frame.Metadata, "out"))
	}
	for _, ns := range out.NS {
		if ns < 0 {
			return nil, fmt.Errorf("out: want times, got %v ns", ns)
		}
	}
	return out.NS, nil
}
