// Package proxy turns calls of an implementation into values.
//
// [Connect] gives an implementation whose every call, of whatever module and
// method, reaches one function as a [Call]; [Local] takes a Call and makes it on
// a real implementation. Between the two stand layers ([Layer]): recording,
// guards round buffers, containment of panics and hangs, the pipe to another
// process. Each is written once, for all modules.
//
// The files *_gen.go are written from spec's operation table by tools/proxygen.
package proxy

//go:generate go run ../../tools/proxygen
