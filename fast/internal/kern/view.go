package kern

// A View is a matrix inside another, or the transpose of one: element (i, j) is
// Data[i*Down + j*Right], and Right or Down is 1. The zero View is none.
type View struct {
	Rows, Cols  int
	Down, Right int
	Data        []float32
}

// Rows is a matrix of so many rows and columns that begin ld elements after each
// other; it shares data's memory, as all views do.
func Rows(data []float32, rows, cols, ld int) View {
	return View{Rows: rows, Cols: cols, Down: ld, Right: 1, Data: data}
}

// T is the transpose.
func (v View) T() View {
	v.Rows, v.Cols, v.Down, v.Right = v.Cols, v.Rows, v.Right, v.Down
	return v
}

// Block is rows i0 … i1−1 of columns j0 … j1−1; of the zero View it is that.
func (v View) Block(i0, i1, j0, j1 int) View {
	if v.Data == nil {
		return v
	}
	v.Rows, v.Cols = i1-i0, j1-j0
	if v.Rows == 0 || v.Cols == 0 {
		v.Data = v.Data[:0]
		return v
	}
	v.Data = v.Data[i0*v.Down+j0*v.Right:][:v.span()]
	return v
}

// span is the number of elements from the first to the last.
func (v View) span() int {
	if v.Rows == 0 || v.Cols == 0 {
		return 0
	}
	return (v.Rows-1)*v.Down + (v.Cols-1)*v.Right + 1
}

// at is the address of element (i, j), nil in the zero View.
func (v View) at(i, j int) *float32 {
	if len(v.Data) == 0 {
		return nil
	}
	return &v.Data[i*v.Down+j*v.Right]
}
