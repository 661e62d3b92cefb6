package spec

import (
	"slices"
	"strings"
)

// A Requirement is one thing that an implementation is held to.
type Requirement struct {
	// ID is stable: a slug, never a number, never reused.
	ID    string
	Level Level
	Kind  Kind
	// Text is the one normative sentence.
	Text string
	// Variant is the variant that it speaks of.
	Variant Variant
	// Needs lists the optional operations that its check calls.
	Needs []string
	// Tolerance says how far a result may be off, and Why why that far.
	Tolerance, Why string
	// Second is the route beside ref on which a MUST rests.
	Second string
	// Source is where the requirement comes from: a paper, the page's row, the
	// recording.
	Source string
}

// A Level says what failing a requirement costs, in the sense of RFC 2119. Only
// a MUST decides the verdict.
type Level string

const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	May    Level = "MAY"
)

// A Kind says what a requirement's check compares with.
type Kind string

const (
	// Law: an equation or inequality between results, or a closed form. A law is
	// its own second route.
	Law Kind = "law"
	// Model: a state machine against a model that is not ref's code.
	Model Kind = "model"
	// Vector: frozen inputs and answers.
	Vector Kind = "vector"
	// Equivalence: the same calls on ref.
	Equivalence Kind = "equivalence"
	// Refusal: bad input is rejected, and nothing changes. It is its own second
	// route.
	Refusal Kind = "rejection"
)

// A Symptom says how a requirement was failed.
type Symptom string

const (
	Differs      Symptom = "differs"       // a result or a law is off by more than the tolerance
	Accepted     Symptom = "accepted"      // bad input was accepted
	Rejected     Symptom = "rejected"      // good input was refused
	WrongKind    Symptom = "wrong-kind"    // bad input was refused with another kind of error
	ChangedInput Symptom = "changed-input" // an argument, or memory beside it, was written to
	ChangedState Symptom = "changed-state" // a refused call changed something
	Aliased      Symptom = "aliased"       // a result shares memory with an argument, another result or the module
	Panicked     Symptom = "panicked"      // a call panicked
	Crashed      Symptom = "crashed"       // an adapter died or broke the protocol
	TimedOut     Symptom = "timed-out"     // a call did not return in time
	Vacuous      Symptom = "vacuous"       // the check had nothing to check
)

// Symptoms lists every symptom.
var Symptoms = []Symptom{Differs, Accepted, Rejected, WrongKind, ChangedInput, ChangedState, Aliased, Panicked, Crashed, TimedOut, Vacuous}

const exact, exactWhy = "exact", "integers, codes and indices have no rounding"

// common returns the requirements that every module has, in the words of that
// module. equivalence describes how results are compared with ref's, and second
// names the route beside ref that confirms them.
func common(module string, variants []Variant, equivalence, why, second string) []Requirement {
	rs := []Requirement{{
		ID: module + "/bad-config", Level: Must, Kind: Refusal,
		Text:      "A constructor refuses a config with a field out of range, non-finite, or too large to store.",
		Tolerance: exact, Why: "a config is accepted or refused", Second: "the list of ranges is the specification's, not ref's",
		Source: "the module's contract",
	}, {
		ID: module + "/bad-arguments", Level: Must, Kind: Refusal,
		Text:      "An operation refuses an argument of the wrong shape, empty, out of range, or non-finite where that is forbidden.",
		Tolerance: exact, Why: "an argument is accepted or refused", Second: "the list of bad arguments is the specification's, not ref's",
		Source: "the module's contract",
	}, {
		ID: module + "/error-kinds", Level: Should, Kind: Refusal,
		Text:      "A refusal has the kind that the specification names, found with errors.Is.",
		Tolerance: exact, Why: "foreign libraries have no kinds, so this is no MUST", Second: "the kinds are the specification's, not ref's",
		Source: "rules for all modules: errors come in kinds",
	}, {
		ID: module + "/errors-change-nothing", Level: Must, Kind: Refusal,
		Text:      "After a refused call neither contents nor stats have changed: every later answer is what it would have been without it.",
		Tolerance: "as equivalence", Why: "the implementation is compared with itself", Second: "the implementation without the refused calls",
		Source: "rules for all modules: after an error nothing has changed",
	}, {
		ID: module + "/no-panic", Level: Must, Kind: Refusal,
		Text:      "No call panics, whatever its config or arguments.",
		Tolerance: exact, Why: "a call returns or it does not", Second: "the call itself",
		Source: "rules for all modules: no input makes anything panic",
	}, {
		ID: module + "/inputs-unmodified", Level: Must, Kind: Law,
		Text:      "No call writes to an argument, or to the memory before or behind it.",
		Tolerance: "bitwise", Why: "an argument belongs to the caller", Second: "copies and guard words round every buffer",
		Source: "rules for all modules: inputs are never written to",
	}, {
		ID: module + "/nothing-aliased", Level: Must, Kind: Law,
		Text:      "A result shares no memory with an argument, an earlier result or the module, and the module keeps no argument: overwriting them after the call changes no later answer.",
		Tolerance: "as equivalence", Why: "the implementation is compared with itself", Second: "addresses, and the implementation with its buffers overwritten after every call",
		Source: "rules for all modules: inputs are never kept, results are the caller's",
	}, {
		ID: module + "/vectors", Level: Must, Kind: Vector,
		Text:      "Every frozen vector of the module replays.",
		Tolerance: equivalence, Why: why, Second: second,
		Source: "golden/" + module,
	}}
	for _, v := range append([]Variant{Documented}, variants...) {
		id, text := module+"/equivalence", "The same calls give the same answers and stats as the reference."
		if v != Documented {
			id += "-" + string(v)
			text = "As variant " + string(v) + ", the same calls give the same answers and stats as the reference."
		}
		rs = append(rs, Requirement{
			ID: id, Level: Must, Kind: Equivalence, Variant: v, Text: text,
			Tolerance: equivalence, Why: why, Second: second, Source: "ref",
		})
	}
	return rs
}

// withoutConfig leaves out of the requirements that every module has what asks for a
// bad config, of a module whose config has no fields.
func withoutConfig(rs []Requirement) []Requirement {
	return slices.DeleteFunc(rs, func(r Requirement) bool { return strings.HasSuffix(r.ID, "/bad-config") })
}
