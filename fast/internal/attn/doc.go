// Package attn attends with the online softmax (Milakov & Gimelshein 2018): keys
// and values come in blocks, and no row of logits is ever stored whole.
//
// The idea: a row's output is at all times the attention over the keys seen so
// far. A block of keys takes its share of the weight, and what was there keeps the
// rest. Outputs are then convex combinations throughout: they do not grow with the
// number of keys towards overflow, and there is nothing to divide at the end.
//
// Every row of queries uses a block of keys and values while it is in the L1
// cache. The inner loops are functions of their own (kernel_generic.go), so that
// vector versions can take their place.
//
// Eight heads of 64 queries over 128 keys, head dimension 64, take a sixth of ref's
// time, with these loops in plain Go.
package attn
