// Package ordered has the products, norms and softmax of transformers, every sum in index
// order: what is computed with it is the same, whatever vectors a machine has.
package ordered

// The conversions F(a*b) in this package round each product, which keeps the
// compiler from fusing it into a sum: results are the same on every architecture
// but for what package math computes.
