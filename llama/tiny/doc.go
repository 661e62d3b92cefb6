// Package tiny is a language that is known exactly, and a small Llama that has
// learnt it: what a method costs in quality can be measured here against the best
// that any model could do.
//
// The language is a Grammar: short stories with agreement over distance, names,
// counting and sums. Text draws from it, LogProb says how likely that very text was.
// Of n tokens, e^(−LogProb/n) is the least perplexity that a model can be expected
// to have. Seeds below 2³² are the caller's; text of two of them is disjoint, and
// disjoint from what the models were trained on, but for chance: two paragraphs are
// alike with a probability of 2⁻³⁹.
//
// Model is a Llama with 143,808 parameters: dim 64, hidden 128, 3 layers, 4 heads,
// 2 KV heads, 512 tokens, context 256, tied head. It reads one paragraph behind BOS,
// and ends it with BOS. It was trained on STEPS steps of 32 paragraphs, TOKENS
// tokens, each paragraph read once, with AdamW in float32. Tuned is the same model
// after 400 steps on Variant, with other names and frequencies: a pair.
//
// Measured on 2,000 paragraphs that no training has seen (TINYLM_FULL=1 go test
// -run 'Perplexity|Sentence|Greedy' -v):
//
//	        perplexity  bound   above
//	Model
//	Tuned
//
// Of the third sentences of four paragraphs, the grammar knows the one that belongs
// to the first two in X% of 1,000 cases, Model in X%. Of 500 texts that Model goes on
// with from their first sentence, always with the likeliest token, X% are of the
// grammar.
//
// The files are made by
//
//	go run ./tools/tinylm --out llama/tiny
//	go run ./tools/tinylm --out llama/tiny --tune
//
// bit by bit on amd64, in about an hour on one core.
package tiny
