// Package squishspec is the root of the module; it holds nothing but the list of
// what is generated. See spec, ref, fast and conformance.
package squishspec

//go:generate go run ./tools/conformancemd
