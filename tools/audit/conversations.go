package audit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// dataDomains are MTRAG's, each a file of questions and one of relevant passages
// below a data folder.
var dataDomains = []string{"clapnq", "cloud", "fiqa", "govt"}

func questionsFile(domain string) string { return "rag_sessions/" + domain + "_questions.jsonl" }
func relevantFile(domain string) string  { return "rag_sessions/" + domain + "_qrels_dev.tsv" }

// A conversation is the passages that are relevant to each of its turns, by numbers.
type conversation struct {
	domain string
	turns  [][]int64
}

// readConversations reads MTRAG's, of all domains.
func readConversations(dir string) (all []conversation, err error) {
	for _, domain := range dataDomains {
		type place struct{ conversation, turn int }
		places := map[string]place{} // of a question
		began, last := map[string]int{}, map[string]int{}
		err := eachLine(dir, questionsFile(domain), func(_ int, line []byte) error {
			var q struct {
				ID   *string `json:"_id"`
				Text *string `json:"text"`
			}
			if err := json.Unmarshal(line, &q); err != nil {
				return reject("question", "a JSON object with the fields _id and text", err)
			}
			if q.ID == nil || q.Text == nil {
				return reject("question", "the fields _id and text", "others")
			}
			name, number, ok := strings.Cut(*q.ID, "<::>")
			turn, err := strconv.Atoi(number)
			if !ok || name == "" || err != nil || turn < 1 {
				return reject("_id", "a conversation, <::> and the number of a turn from 1", fmt.Sprintf("%q", *q.ID))
			}
			if turn <= last[name] {
				return reject("_id", fmt.Sprintf("a turn after %d, for turns are in order", last[name]), turn)
			}
			last[name] = turn
			at, known := began[name]
			if !known {
				at = len(all)
				began[name] = at
				all = append(all, conversation{domain: domain})
			}
			places[*q.ID] = place{at, len(all[at].turns)}
			all[at].turns = append(all[at].turns, nil)
			return nil
		})
		if err != nil {
			return nil, err
		}
		passages := map[string]int64{}
		err = eachLine(dir, relevantFile(domain), func(number int, line []byte) error {
			fields := strings.Split(string(line), "\t")
			if len(fields) != 3 {
				return reject("line", "a question, a passage and a score, with tabs between", fmt.Sprintf("%d fields", len(fields)))
			}
			if number == 1 {
				if fields[0] != "query-id" || fields[1] != "corpus-id" || fields[2] != "score" {
					return reject("header", "query-id, corpus-id and score", strings.Join(fields, ", "))
				}
				return nil
			}
			at, known := places[fields[0]]
			score, err := strconv.Atoi(fields[2])
			switch {
			case !known:
				return reject("query-id", "one of "+questionsFile(domain), fmt.Sprintf("%q", fields[0]))
			case fields[1] == "":
				return reject("corpus-id", "a passage", "none")
			case err != nil || score < 0:
				return reject("score", "a number, 0 or more", fmt.Sprintf("%q", fields[2]))
			case score == 0:
				return nil
			}
			id, seen := passages[fields[1]]
			if !seen {
				id = int64(len(passages))
				passages[fields[1]] = id
			}
			turn := &all[at.conversation].turns[at.turn]
			if slices.Contains(*turn, id) {
				return reject("corpus-id", "a passage that the question has not had", fmt.Sprintf("%q again", fields[1]))
			}
			*turn = append(*turn, id)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// drawConversations draws turns of one to four passages, each one that the
// conversation has had with a probability of a fifth, the one it has had most often
// likelier, and else a new one.
func drawConversations(seed uint64) (all []conversation) {
	r := rand.New(rand.NewPCG(seed, 0x7a9))
	for range 300 { // so many that the seed does not decide
		c := conversation{domain: "drawn"}
		var had []int64 // one for each time
		fresh := int64(0)
		for range 4 + r.IntN(8) {
			turn := map[int64]bool{}
			var passages []int64
			for range 1 + r.IntN(4) {
				id := fresh
				if len(had) > 0 && r.IntN(5) == 0 {
					id = had[r.IntN(len(had))]
				}
				if turn[id] {
					continue
				}
				if id == fresh {
					fresh++
				}
				turn[id] = true
				passages = append(passages, id)
			}
			had = append(had, passages...)
			c.turns = append(c.turns, passages)
		}
		all = append(all, c)
	}
	return all
}
