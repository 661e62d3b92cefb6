package audit

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// eachLine reads a file below a data folder line by line. Whatever is wrong with one
// is an error that names the file and the line, and a file without any is refused. A
// file that is not there is fs.ErrNotExist.
func eachLine(dir, name string, read func(number int, line []byte) error) error {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	lines, number := bufio.NewScanner(f), 0
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		number++
		if err := read(number, lines.Bytes()); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return reject(fmt.Sprintf("%s, line %d", name, number+1), "a line that can be read", err)
	}
	if number == 0 {
		return reject(name, "lines", "none")
	}
	return nil
}
