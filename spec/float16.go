package spec

// A Float16 is an IEEE 754 binary16 number, as its bits: a sign, 5 bits of
// exponent and 10 of fraction. On the wire it is of dtype F16.
type Float16 uint16

// MaxFloat16 is the largest finite binary16 number.
const MaxFloat16 = 65504
