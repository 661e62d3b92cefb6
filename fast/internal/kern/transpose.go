package kern

// Transpose writes the transpose of src to dst, which has as many columns as src has
// rows. Right is 1 in both.
func Transpose(dst, src View) {
	rows, cols := src.Rows, src.Cols
	if rows == 0 || cols == 0 {
		return
	}
	dst.Data, src.Data = dst.Data[:(cols-1)*dst.Down+rows], src.Data[:(rows-1)*src.Down+cols]
	kernel := transposeAVX512
	switch {
	case rows < 8 || cols < 8 || !(useAVX512 || useAVX2):
		transposeGo(dst, src)
		return
	case useAVX2:
		kernel = transposeAVX2
	}
	for i := 0; ; i = min(i+8, rows-8) { // the last rows may be done twice
		kernel(dst.at(0, i), dst.Down, src.at(i, 0), src.Down, cols)
		if i == rows-8 {
			return
		}
	}
}

func transposeGo(dst, src View) {
	for i := range src.Rows {
		for j, v := range src.Data[i*src.Down:][:src.Cols] {
			dst.Data[j*dst.Down+i] = v
		}
	}
}
