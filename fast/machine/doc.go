// Package machine measures what one core of this machine can do at most: the limits
// that a row's time is compared with.
//
// Each limit is the best of many short runs of a loop that does one thing only, in
// each tier: the instruction sets that package fast is written for. A limit is
// therefore what this machine can do when nothing disturbs it.
package machine
