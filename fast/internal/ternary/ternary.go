// Package ternary has the threshold of ternary codes, and the loops that pack and
// unpack them.
//
// The idea: nothing branches on a code, which no predictor can guess. The only
// branches are those that refuse, and they are taken once.
package ternary

import "slices"

// legal reports whether a code is −1, 0 or +1, in one comparison.
func legal(code int8) bool { return uint8(code+1) <= 2 }

// FirstIllegal returns the index of the first illegal code, −1 if there is none.
func FirstIllegal(codes []int8) int {
	return slices.IndexFunc(codes, func(c int8) bool { return !legal(c) })
}
