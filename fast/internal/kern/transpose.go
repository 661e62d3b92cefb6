package kern

// Transpose writes the columns of src, rows × cols elements, as rows of dst. Rows
// begin lds and ldd elements after each other.
func Transpose(dst []float32, ldd int, src []float32, lds int, rows, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	dst, src = dst[:(cols-1)*ldd+rows], src[:(rows-1)*lds+cols]
	kernel := transposeAVX2
	switch {
	case rows < 8 || cols < 8 || !(useAVX512 || useAVX2):
		transposeGo(dst, ldd, src, lds, rows, cols)
		return
	case useAVX512:
		kernel = transposeAVX512
	}
	for i := 0; ; i = min(i+8, rows-8) { // the last rows may be done twice
		kernel(&dst[i], ldd, &src[i*lds], lds, cols)
		if i == rows-8 {
			return
		}
	}
}

func transposeGo(dst []float32, ldd int, src []float32, lds int, rows, cols int) {
	for i := range rows {
		for j, v := range src[i*lds:][:cols] {
			dst[j*ldd+i] = v
		}
	}
}
