// Package conformance is the suite: it holds an implementation to every
// requirement of package spec.
//
// [Check] runs it and returns a [Report]; [Run] is Check as a Go test. A check
// is a rapid property: it draws inputs, calls the implementation through a proxy
// that records and contains it, and compares with a law, a model, a frozen
// vector, or package ref. Every check has been seen to fail: the tests of this
// package run it on a mutant, an implementation that breaks just this
// requirement.
//
// A module's file holds its generators, its checks, its model and its rows; what
// all modules share (bad input refused, nothing changed by an error, inputs
// unmodified, nothing aliased, no panic) is written once, in crosscutting.go,
// over layers on the proxy.
package conformance
