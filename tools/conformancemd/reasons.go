package main

// reasons say why rows miss targets: all that do, and no others.
var reasons = []reason{
	{"peer", []string{
		"cot-compress/compress-256",
		"cot-compress/compress-64",
	}, "its ids are all distinct, so that all scores are equal; of equals the first must stay, and the peer's partition keeps any: its answer is another one"},
	{"peer", []string{
		"weight-sharing/get-effective-weight",
		"delta-compress/decompress",
	}, "the product of 256×16 and 16×256 runs at 70 to 80% of the peak; the peer's is OpenBLAS, and the limit itself is but 2.3× as fast as it"},
	{"limit", []string{
		"structured-prune/prune",
	}, "the ranks of four magnitudes take about ten vector operations a vector, and a mask of bytes: the vector units decide and not the L2 cache, whose bytes are the limit"},
	{"limit", []string{
		"quant-calib/calibrate-minmax",
	}, "128 KiB in 1.7 µs; the scales of 256 channels, a division each, are about a quarter of it"},
	{"limit", []string{
		"sparse-weight/compress",
		"sparse-weight/decompress",
	}, "values and columns are compressed and expanded in registers, sixteen at a time, at 8 to 10 cycles: permutations decide; stores of a quarter of the width gained nothing"},
	{"limit", []string{
		"zero-quant-v2/quantize",
	}, "the largest magnitude of a group must be known before its codes: two passes over it that wait for each other, where the limit counts one; keeping the two largest of each lane instead gained nothing"},
	{"limit", []string{
		"gptq-layer/calibrate",
	}, "64 columns that wait for each other, of 64 rows each: latency decides. The documented variant, page workload, computes in float64, which its limit counts at the rate of float32"},
	{"limit", []string{
		"awq-v2/quantize",
	}, "a row's grid and codes are calls of their own for each of 128 rows; the largest cost is theirs"},
	{"limit", []string{
		"iter-prune/prune-step-5",
		"iter-prune/prune-step-10",
	}, "the cut among 65,536 magnitudes takes a sample, a pass that brackets it and a search in what is left, and then they are written: two thirds of the time is selection, which the limit counts as one look at each"},
	{"bookkeeping", []string{
		"rag-prefetch/record-access",
	}, "SHA-256 of 256 bytes by the standard library takes 217 ns with padding and call, of which the limit counts five blocks, 175 ns; the rest is the digest's hexadecimal form, a look-up and a heap"},
	{"bookkeeping", []string{
		"hierarchical-kv/put",
	}, "noisy in this run, 86 to 95 ns in calm ones: a look-up, a removal, list moves and 4 KiB copied"},
	{"page", []string{
		"video-frame-prune/prune-spatial",
	}, "the page's workload is 16 times what its program ran: 802,816 features, whose 3.2 MB take 34 µs to read once at the rate of the L3 cache, more than the page's 28.1"},
	{"page", []string{
		"long-context-chunk/chunk-256",
	}, "the page's program does not look at its 256×128 numbers; the contract refuses what is not finite, so that they are read once, at the rate of the L2 cache"},
	{"page", []string{
		"delta-compress/decompress",
	}, "noisy in this run, 0.93× in calm ones; the limit of this core is 0.75× the page's time"},
	{meanName, []string{meanRow}, "in this run, were every row at its limit, or at 10 ns where that is less, the mean would be 39×; the peer's copies, sums and products leave seven rows less than 7× to win, of which four, bound by memory or by the product, are at 1.6 to 2.5×, and the finite check of chunk-256 costs a factor of 2.5"},
}
