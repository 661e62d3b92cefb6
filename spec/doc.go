// Package spec says what every implementation of the 28 modules must do.
//
// A module is an interface (TernaryQuant), a config (TernaryQuantConfig) with
// defaults and validation, and an entry of [Modules]: its operations as data
// and its requirements, one normative sentence each. From the operations a
// generator writes the proxies of spec/proxy; from the requirements come the
// checks' names, the failure texts and CONFORMANCE.md.
//
// # Conventions
//
// An operation is Op(dst *Result, args...) error. It writes its result to dst,
// whose capacity it reuses, so that a caller who keeps dst allocates nothing in
// the steady state. dst must not overlap an argument; arguments are never
// written to and never kept. After an error dst is unspecified, and neither the
// module nor the arguments have changed. Queries and stats return their value.
//
// Tensors are row-major float32. Rounding to integers is half to even. Ties go
// to the lowest index, or the earliest inserted. Errors have an [ErrorKind],
// testable with errors.Is(err, spec.Invalid).
//
// Configs are literal: a zero field is the value zero, not "the default".
// Defaults come from DefaultXConfig.
package spec

// Version is the version of the specification: of the requirement table, the
// operation table and the frames.
const Version = "0.1"
