package audit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// dataArrivals is Azure's trace of requests below a data folder.
const dataArrivals = "traces/AzureLLMInferenceTrace_conv.csv"

// An arrival is a request that comes at a time, in seconds, with a prompt of text and of
// vision tokens, none where it is not one of vision.
type arrival struct {
	at           float64
	text, vision int
}

func (r arrival) modality() int { return int(oneIf(r.vision > 0)) }

// What is more is refused.
const (
	mostArrivals = 1 << 20
	longestText  = 1 << 20 // tokens
)

// readArrivals reads Azure's trace: requests of text.
func readArrivals(dir string) (trace []arrival, err error) {
	const header = "TIMESTAMP,ContextTokens,GeneratedTokens"
	var first, last time.Time
	err = eachLine(dir, dataArrivals, func(number int, line []byte) error {
		if number == 1 {
			if string(line) != header {
				return reject("header", header, fmt.Sprintf("%.60q", line))
			}
			return nil
		}
		fields := strings.Split(string(line), ",")
		if len(fields) != 3 {
			return reject("line", "a time, and the tokens of prompt and answer", fmt.Sprintf("%d fields", len(fields)))
		}
		at, err := time.Parse(time.DateTime, fields[0])
		if err != nil {
			return reject("TIMESTAMP", "a time as "+time.DateTime, fmt.Sprintf("%.40q", fields[0]))
		}
		if at.Before(last) {
			return reject("TIMESTAMP", last.Format(time.DateTime+".0000000")+" or later, for requests are in order of time", fields[0])
		}
		var tokens [2]int
		for i, name := range []string{"ContextTokens", "GeneratedTokens"} {
			n, err := strconv.Atoi(fields[1+i])
			if least := 1 - i; err != nil || n < least || n > longestText {
				return reject(name, fmt.Sprintf("a number from %d to %d", least, longestText), fmt.Sprintf("%.40q", fields[1+i]))
			}
			tokens[i] = n
		}
		if len(trace) == mostArrivals {
			return reject("line", fmt.Sprintf("at most %d requests", mostArrivals), "one more")
		}
		if len(trace) == 0 {
			first = at
		}
		last = at
		trace = append(trace, arrival{at: at.Sub(first).Seconds(), text: tokens[0]})
		return nil
	})
	if err == nil && (len(trace) == 0 || trace[len(trace)-1].at == 0) {
		err = reject(dataArrivals, "requests of two times at least", fmt.Sprintf("%d of one", len(trace)))
	}
	return trace, err
}

// drawArrivals draws bursts: gaps between requests are exponential, twenty times as
// short within a burst as before one, and lengths are log-normal.
func drawArrivals(seed uint64) (trace []arrival) {
	const requests, burst = 3000, 30
	r := rand.New(rand.NewPCG(seed, 0xb0457))
	at := 0.0
	for range requests {
		gap := r.ExpFloat64() / 20
		if r.IntN(burst) == 0 {
			gap *= 20 * burst / 2
		}
		at += gap
		text := int(math.Round(800 * math.Exp(0.9*r.NormFloat64())))
		trace = append(trace, arrival{at: at, text: min(max(text, 1), 16000)})
	}
	return trace
}

// The vision tokens of a request: what photographs cut into patches have, and up to the
// most that the module takes.
const fewestVision, mostVision = 196, 256

// withVision makes requests of vision of a share of a trace, here and there.
func withVision(trace []arrival, share float64, seed uint64) []arrival {
	r := rand.New(rand.NewPCG(seed, 0x515107))
	mixed := make([]arrival, len(trace))
	for i, request := range trace {
		if r.Float64() < share {
			request.vision = fewestVision + r.IntN(mostVision-fewestVision+1)
		}
		mixed[i] = request
	}
	return mixed
}

// scaled is a trace whose times are so many times as long.
func scaled(trace []arrival, by float64) []arrival {
	out := make([]arrival, len(trace))
	for i, request := range trace {
		request.at *= by
		out[i] = request
	}
	return out
}
