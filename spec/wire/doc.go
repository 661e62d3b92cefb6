// Package wire reads and writes frames, and encodes the values of calls in them.
//
// A frame is one safetensors blob: an 8-byte little-endian header length, a JSON
// header, and the bytes of the tensors. It ends where its last tensor ends, so
// that frames can follow each other on a pipe, and it carries NaN, ±Inf, −0 and
// every dtype bit for bit. A frame in a file is a vector.
//
// Values are JSON in the frame's metadata; a tensor in them is
// {"tensor": NAME}, the tensor of that name in the same frame.
//
// The reader is our own since the Go library (nlpodyssey/safetensors) parses a
// buffer that holds a whole file: it cannot find a frame's end on a pipe, nor
// bound what it reads. It serves the tests as second oracle.
package wire
