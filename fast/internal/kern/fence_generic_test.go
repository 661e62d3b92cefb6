//go:build !linux

package kern

// forbidAround returns memory for so many bytes and some more: here, reading
// outside a slice goes unnoticed.
func forbidAround(size int) []byte { return make([]byte, size+128) }

func allow([]byte) {}
