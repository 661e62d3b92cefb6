// Package kern has the inner loops of package fast, each in up to four forms: Go
// assembly for AVX-512 and for AVX2, NEON for the few that carry the flops, and a
// plain-Go body, which is the form for every other processor and for the build tag
// purego, and the oracle of the others' tests.
//
// A kernel has one Go file, x.go: what it computes, the choice of the form, and
// the plain body, xGo. The assembly x_amd64.s, its declarations x_amd64.go and
// what stands for them elsewhere, x_generic.go, are written by the generator in
// gen, a module of its own, so that what it imports reaches nobody else. go
// generate runs it.
//
// Rules for all kernels:
//   - Slices may start anywhere: nothing is aligned. No byte outside them is read
//     or written.
//   - A destination is as long as its source, and either the same slice or one
//     that does not overlap it.
//   - An exported function checks lengths by slicing; the forms trust it.
//   - Forms of an elementwise kernel agree bitwise, but for NaN's payload, unless
//     the comment says otherwise. Sums differ in the order of their terms.
//   - A call lasts less than some 100 µs, for assembly cannot be preempted: who has
//     more to do calls again.
package kern

//go:generate go run -C gen .
