// Package tiny is a language that is known exactly, and a small Llama that has
// learnt it.
package tiny
