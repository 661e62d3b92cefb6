package adapter

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
)

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// A tail has at most so many bytes and lines.
const (
	tailBytes = 4 << 10
	tailLines = 20
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[max(0, len(p)-tailBytes):]...)
	t.text = append(t.text[:0], t.text[max(0, len(t.text)-tailBytes):]...)
	return len(p), nil
}

// lines returns the last whole lines.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.text), "\ufffd"))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-tailLines):]
}

// A head passes on what is read through it, and keeps the beginning.
type head struct {
	io.Reader
	text []byte
}

// headBytes is how much of what an adapter wrote instead of a frame is shown.
const headBytes = 64

func (h *head) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded // without the name of the pipe
	}
	h.text = append(h.text, p[:min(n, headBytes-len(h.text))]...)
	return n, err
}
