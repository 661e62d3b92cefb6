package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// A Machine is where and how rows were timed: the first line of a file of them.
type Machine struct {
	Type       string `json:"type"` // "machine"
	Date       string `json:"date"` // of the run, as 2006-01-02
	Spec       string `json:"spec"` // version of the specification
	CPU        string `json:"cpu"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Go         string `json:"go"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	// Tier is the instruction set in force, and Peer the name and version of the peer.
	Tier string `json:"tier"`
	Peer string `json:"peer,omitempty"`
	// Limits are what one core can do with each instruction set that it has.
	Limits []spec.Limits `json:"limits"`
}

// InForce returns the limits of the tier in force, nil where they were not measured.
func (m *Machine) InForce() *spec.Limits {
	for i := range m.Limits {
		if m.Limits[i].Tier == m.Tier {
			return &m.Limits[i]
		}
	}
	return nil
}

// A BenchFooter is the last line of a file of rows. Without it the file is cut off.
type BenchFooter struct {
	Type string `json:"type"` // "footer"
	Rows int    `json:"rows"`
	// Noisy is the number of rows whose samples lie far apart.
	Noisy int `json:"noisy"`
}

// A BenchFile is a file of rows, as lines of JSON.
type BenchFile struct {
	Machine Machine
	Rows    []RowResult
}

// ReadBench reads a file of rows. An error, in a line, says what is wrong with it.
func ReadBench(r io.Reader) (*BenchFile, error) {
	var f BenchFile
	var footer *BenchFooter
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		var kind struct{ Type string }
		err := json.Unmarshal(lines.Bytes(), &kind)
		switch {
		case err != nil:
		case footer != nil:
			err = fmt.Errorf("got a line behind the footer")
		case (number == 1) != (kind.Type == "machine"):
			err = fmt.Errorf("got type %q, want the machine in the first line and only there", kind.Type)
		case kind.Type == "machine":
			err = json.Unmarshal(lines.Bytes(), &f.Machine)
		case kind.Type == "row":
			var row RowResult
			err = json.Unmarshal(lines.Bytes(), &row)
			f.Rows = append(f.Rows, row)
		case kind.Type == "footer":
			footer = new(BenchFooter)
			err = json.Unmarshal(lines.Bytes(), footer)
		default:
			err = fmt.Errorf("got type %q, want row or footer", kind.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, lines.Err()
	case footer == nil:
		return nil, fmt.Errorf("it has no footer: it is cut off, or no file of rows")
	case footer.Rows != len(f.Rows):
		return nil, fmt.Errorf("it has %d rows and its footer says %d", len(f.Rows), footer.Rows)
	}
	return &f, nil
}

// Row returns the row of that id, workload and implementation, nil where there is
// none.
func (f *BenchFile) Row(id string, name spec.WorkloadName, impl string) *RowResult {
	for i := range f.Rows {
		if r := &f.Rows[i]; r.ID == id && r.Workload == name && r.Implementation == impl {
			return r
		}
	}
	return nil
}

// Differs reports whether two times are apart by more than the noise of both: the
// median of each is outside all samples of the other.
func (s *Spread) Differs(other *Spread) bool {
	outside := func(x float64, s *Spread) bool { return x < s.Min || x > s.Max }
	return outside(s.Median, other) && outside(other.Median, s)
}

// PeerTarget is how many times as fast as the peer a row is meant to be at least.
const PeerTarget = 3

// A PeerSummary is what the ratios to a peer come to, over the latency rows of the
// harness workload: there both do the same work.
type PeerSummary struct {
	Rows int
	// Mean is the geometric mean of the ratios: below 1 is faster.
	Mean float64
	// Slow are the rows less than PeerTarget times as fast as the peer, and Missing those
	// without a ratio.
	Slow, Missing []string
}

// SummarizePeer summarizes the rows of an implementation.
func SummarizePeer(rows []RowResult) PeerSummary {
	var s PeerSummary
	sum := 0.0
	for _, r := range rows {
		switch {
		case r.Workload != spec.HarnessWorkload || r.NS == nil:
		case r.PeerRatio == nil:
			s.Missing = append(s.Missing, r.ID)
		default:
			s.Rows++
			sum += math.Log(r.PeerRatio.Median)
			if r.PeerRatio.Median > 1./PeerTarget {
				s.Slow = append(s.Slow, r.ID)
			}
		}
	}
	s.Mean = math.Exp(sum / float64(max(s.Rows, 1)))
	return s
}
