package audit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// dataRequests is Mooncake's trace below a data folder: a JSON object a request.
const dataRequests = "traces/mooncake_conversation_trace.jsonl"

// prefixBlock is how many tokens a block of Mooncake's trace has.
const prefixBlock = 512

// A prefixTrace is requests in order of time. A request is the blocks of its prompt,
// by ids that stand for a block and all before it.
type prefixTrace [][]int

// readRequests reads Mooncake's trace.
func readRequests(dir string) (trace prefixTrace, err error) {
	last := int64(0)
	err = eachLine(dir, dataRequests, func(_ int, line []byte) error {
		var r struct {
			Timestamp *int64 `json:"timestamp"`
			Input     *int   `json:"input_length"`
			Output    *int   `json:"output_length"`
			Blocks    []int  `json:"hash_ids"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return reject("request", "a JSON object with the trace's fields", err)
		}
		switch {
		case r.Timestamp == nil || r.Input == nil || r.Output == nil || r.Blocks == nil:
			return reject("request", "the fields timestamp, input_length, output_length and hash_ids", "others")
		case *r.Timestamp < last:
			return reject("timestamp", fmt.Sprintf("%d or later, for requests are in order of time", last), *r.Timestamp)
		case *r.Input < 1:
			return reject("input_length", "a token at least", *r.Input)
		case *r.Output < 0:
			return reject("output_length", "0 or more tokens", *r.Output)
		case len(r.Blocks) != (*r.Input-1)/prefixBlock+1:
			return reject("hash_ids", fmt.Sprintf("%d, one for each %d tokens begun", (*r.Input-1)/prefixBlock+1, prefixBlock), len(r.Blocks))
		}
		last = *r.Timestamp
		trace = append(trace, r.Blocks)
		return nil
	})
	return trace, err
}

// Of drawn requests.
const (
	drawnRequests = 2000
	oldestSession = 400 // sessions that began or went on since, the oldest that goes on
	longestPrompt = 48  // blocks, then a session ends
)

// drawRequests draws sessions that come back with a prompt that has grown: half of the
// requests begin one, the others go on with one: how many have begun or gone on since
// has Zipf's distribution. All begin with the same block.
func drawRequests(seed uint64) (trace prefixTrace) {
	r := rand.New(rand.NewPCG(seed, 0x7ace))
	age := rand.NewZipf(r, 1.2, 4, oldestSession)
	fresh := 1
	var sessions [][]int // the newest last
	for len(trace) < drawnRequests {
		prompt := []int{0}
		if len(sessions) > 0 && r.IntN(2) == 0 {
			at := len(sessions) - 1 - int(age.Uint64())%len(sessions)
			prompt = sessions[at]
			sessions = append(sessions[:at], sessions[at+1:]...)
		}
		prompt = prompt[:len(prompt):len(prompt)]
		for range 1 + r.IntN(12) {
			prompt = append(prompt, fresh)
			fresh++
		}
		trace = append(trace, prompt)
		if len(prompt) < longestPrompt {
			sessions = append(sessions, prompt)
		}
	}
	return trace
}

// blocks returns how many blocks the trace has, and how many different ones.
func (t prefixTrace) blocks() (all, distinct int) {
	seen := map[int]bool{}
	for _, request := range t {
		all += len(request)
		for _, b := range request {
			seen[b] = true
		}
	}
	return all, len(seen)
}
