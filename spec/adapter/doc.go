// Package adapter speaks the protocol of PROTOCOL.md, from both ends of the pipe.
//
// An adapter is a program that reads requests on standard input and answers each
// on standard output, one frame each (package wire). [Start] runs one, in whatever
// language it is written, and makes a [spec.Implementation] of it: each call of
// the suite is one frame there and one back. [Serve] is the other end: it answers
// for an implementation in Go.
//
// A running adapter is trusted with nothing. Whatever it does instead of answering
// is a [proxy.Breach], within a time and memory that are bounded here; its
// process, and those that it started in its process group, are then killed, and
// the next instance runs in a new one.
package adapter
