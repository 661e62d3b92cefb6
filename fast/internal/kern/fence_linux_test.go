package kern

import "syscall"

// forbidAround returns memory for so many bytes, whole pages of it, between two
// pages that may not be touched.
func forbidAround(size int) []byte {
	page := syscall.Getpagesize()
	whole := (size + page - 1) / page * page
	whole = max(whole, page)
	memory, err := syscall.Mmap(-1, 0, whole+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	for _, fence := range [][]byte{memory[:page], memory[page+whole:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			panic(err)
		}
	}
	mappings[&memory[page]] = memory
	return memory[page:][:whole:whole]
}

// mappings are those in use, by their first byte that may be touched.
var mappings = map[*byte][]byte{}

func allow(block []byte) {
	first := &block[0]
	if err := syscall.Munmap(mappings[first]); err != nil {
		panic(err)
	}
	delete(mappings, first)
}
