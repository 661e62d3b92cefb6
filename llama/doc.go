// Package llama runs language models of the Llama family: small enough to read,
// exact enough to judge what a method costs in quality.
//
// A Model is weights as they were stored; Load reads llama2.c's files and Hugging
// Face's folders, tensor by tensor and each into its place: a model takes the memory
// of its file, in F32, F16 or BF16, and no second copy. Files are read, not mapped:
// every weight is looked at once, for one that is not finite, and a mapped file that
// somebody cuts short ends the process. LoadTokenizer reads llama2.c's tokenizer.bin
// and the tokenizer.json of Llama 3 and Qwen2.
//
// A Session computes with them, in float32 or in float64: the same
// lines of code, so that the second is the reference of the first. Every sum runs
// in index order whatever is computed together with it: tokens that are fed one by
// one and tokens that are fed at once give the same bits.
//
// MeasurePerplexity is the judge: the mean negative log-likelihood of a text.
//
// The matrix and attention kernels are this package's own since those of fast work
// on its modules' layouts, behind an internal door, and in one precision.
package llama
