// Package audit measures what the page claims: it takes each of the 14 claims and
// the four scores, measures it on a model, texts and traces, and says whether it
// holds, with figure, interval and evidence.
//
// A [Finding] is one answer. Figures of size come from what was serialised and read
// back: a method's weights are compressed to tensors, the tensors are written and
// read as a frame, and the model that is judged is built of what was read. Figures
// of quality are paired: every method is judged on the same paragraphs and the same
// questions as the model itself, and as round-to-nearest of about as many bytes.
//
// Every random choice comes from one seed: the same seed gives the same findings,
// byte for byte, on one architecture with one kind of vector instructions. The finding
// on expert-routing-overhead alone has times in it, which no seed repeats.
package audit
