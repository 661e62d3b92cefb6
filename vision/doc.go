// Package vision runs small vision transformers: of grey pictures, cut into square
// patches, one token each, with attention of every patch to every patch. The class is
// read from a mean of the patches, in which a learnt query gives each its share.
//
// It runs layer by layer, and hands out what each layer's attention was: a caller may
// drop tokens behind any of them, and the rest go on alone. There is no token beside
// the patches: attention is between patches, so that a score of patches sees all of it
// and needs no row scaled anew. A plain mean would be another test: there a patch of
// background has as much to say as any, and a picture without it is one that the model
// has never seen, however little was on it.
//
// Positions are sines of a patch's place in the picture, and not learnt: a model runs
// on grids that it was not trained on, with places between those it knows.
//
// Sums run in index order: the same picture gives the same bits on every kind of
// vector instructions.
package vision
