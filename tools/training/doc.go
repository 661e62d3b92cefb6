// Package training trains small models so that the same recipe gives the same weights,
// bit by bit on amd64, whatever the number of processors: NewText those of package llama
// on a grammar's text, NewVision those of package vision on labelled pictures.
package training
