package audit

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kljensen/snowball/english"
)

// The files of CACM below a data folder: a document a file of an archive, topics
// between tags, and a line for each judgement.
const (
	cacmArchive   = "ir/cacm/cacm.tar.gz"
	cacmTopics    = "ir/cacm/topics.cacm.txt"
	cacmJudgement = "ir/cacm/qrels.cacm.txt"
)

// What is larger is refused, unread.
const (
	longestDocument = 1 << 16 // bytes
	longestTopic    = 1 << 12
	longestTopics   = 1 << 16 // all of them: a word is counted in each document
	mostUnpacked    = 1 << 26 // of the archive
	mostTopics      = 1 << 10
)

// A collection is texts of documents and topics, and the judgements of each topic that
// has a relevant document.
type collection struct {
	docs, topics []string
	judged       [][]judgement
	// literal are the judgements with document −1 where the file does not name a
	// document as the archive does, of which there are unpadded. Nil where all are drawn.
	literal  [][]judgement
	unpadded int
	note     string
}

// collection is CACM, or a drawn one.
func (a *Audit) collection(f *Finding) (*collection, error) {
	if a.Data == "" {
		return drawCollection(a.Seed), nil
	}
	f.Evidence = append(f.Evidence, cacmArchive, cacmTopics, cacmJudgement)
	return readCACM(a.Data)
}

func readCACM(dir string) (*collection, error) {
	docs, places, err := readArchive(dir)
	if err != nil {
		return nil, err
	}
	topics, numbers, err := readTopics(dir)
	if err != nil {
		return nil, err
	}
	judged, literal := make([][]judgement, len(topics)), make([][]judgement, len(topics))
	c := &collection{docs: docs}
	err = eachLine(dir, cacmJudgement, func(_ int, line []byte) error {
		fields := strings.Fields(string(line))
		if len(fields) != 4 {
			return reject("line", "a topic, a run, a document and a relevance", fmt.Sprintf("%d fields", len(fields)))
		}
		topic, known := numbers[fields[0]]
		if !known {
			return reject("topic", "one of "+cacmTopics, fmt.Sprintf("%q", fields[0]))
		}
		// The file writes CACM-756 where the archive has CACM-0756.
		number, isDocument := strings.CutPrefix(fields[2], "CACM-")
		padded := strings.Repeat("0", max(0, cacmDigits-len(number))) + number
		doc, known := places[padded]
		if !isDocument || !known {
			return reject("document", "one of "+cacmArchive, fmt.Sprintf("%q", fields[2]))
		}
		if slices.ContainsFunc(judged[topic], func(j judgement) bool { return j.doc == doc }) {
			return reject("document", "one that the topic has no judgement of", fmt.Sprintf("%q again", fields[2]))
		}
		relevance, err := strconv.Atoi(fields[3])
		if err != nil || relevance < 0 || relevance > math.MaxInt16 {
			return reject("relevance", fmt.Sprintf("a number from 0 to %d", math.MaxInt16), fmt.Sprintf("%q", fields[3]))
		}
		written := judgement{doc, relevance}
		if padded != number {
			written.doc = -1
			c.unpadded++
		}
		judged[topic], literal[topic] = append(judged[topic], judgement{doc, relevance}), append(literal[topic], written)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, j := range judged {
		if relevant(j) > 0 {
			c.topics, c.judged, c.literal = append(c.topics, topics[i]), append(c.judged, j), append(c.literal, literal[i])
		}
	}
	if len(c.topics) == 0 {
		return nil, reject(cacmJudgement, "a relevant document", "none")
	}
	c.note = fmt.Sprintf("CACM: %d documents, %d of %d topics with a relevant document, %d judgements. A document is all its file has outside < and >, the table of citations too", len(docs), len(c.topics), len(topics), len(slices.Concat(c.judged...)))
	return c, nil
}

// cacmDigits are those of a document's number in the archive.
const cacmDigits = 4

var documentName = regexp.MustCompile(`^CACM-([0-9]{4})\.html$`)

// readArchive reads the documents, and their places by number.
func readArchive(dir string) (docs []string, places map[string]int, err error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(cacmArchive)))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, nil, reject(cacmArchive, "a tar file, zipped", err)
	}
	bounded := &io.LimitedReader{R: unzipped, N: mostUnpacked}
	broken := func(err error) error {
		if bounded.N <= 0 {
			err = errors.New("more")
		}
		return reject(cacmArchive, fmt.Sprintf("a whole tar file of up to %d bytes, zipped", mostUnpacked), err)
	}
	files := tar.NewReader(bounded)
	places, last := map[string]int{}, ""
	for {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, broken(err)
		}
		name := documentName.FindStringSubmatch(header.Name)
		switch {
		case name == nil || header.Typeflag != tar.TypeReg:
			return nil, nil, reject(fmt.Sprintf("%s, file %d", cacmArchive, len(docs)+1), "a file CACM-nnnn.html", fmt.Sprintf("%.40q", header.Name))
		case name[1] <= last:
			return nil, nil, reject(cacmArchive+", "+header.Name, "a document after number "+last+", for they are in order", name[1])
		case header.Size > longestDocument:
			return nil, nil, reject(cacmArchive+", "+header.Name, fmt.Sprintf("at most %d bytes", longestDocument), header.Size)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return nil, nil, broken(err)
		}
		last, places[name[1]] = name[1], len(docs)
		docs = append(docs, string(text))
	}
	// Behind the last file are zeros, and the checksum.
	if _, err := io.Copy(io.Discard, bounded); err != nil || bounded.N <= 0 {
		return nil, nil, broken(err)
	}
	if len(docs) == 0 {
		return nil, nil, reject(cacmArchive, "documents", "none")
	}
	return docs, places, nil
}

var topicNumber = regexp.MustCompile(`^<DOCNO> *([0-9]+) *</DOCNO>$`)

// readTopics reads the texts of topics, and their places by number.
func readTopics(dir string) (topics []string, places map[string]int, err error) {
	const outside, unnumbered, within = 0, 1, 2
	places = map[string]int{}
	state, size, all := outside, 0, 0
	var text []string
	err = eachLine(dir, cacmTopics, func(_ int, line []byte) error {
		trimmed := strings.TrimSpace(string(line))
		number := topicNumber.FindStringSubmatch(trimmed)
		switch {
		case trimmed == "<DOC>" && state == outside:
			state, text, size = unnumbered, nil, 0
		case number != nil && state == unnumbered:
			if _, again := places[number[1]]; again {
				return reject("topic", "one that there was not", number[1]+" again")
			}
			if len(topics) == mostTopics {
				return reject("topic", fmt.Sprintf("at most %d", mostTopics), "one more")
			}
			state, places[number[1]] = within, len(topics)
		case trimmed == "</DOC>" && state == within:
			if len(words(strings.Join(text, " "))) == 0 {
				return reject("topic", "words", "none")
			}
			state, topics = outside, append(topics, strings.Join(text, "\n"))
		case trimmed == "" && state != within:
		case state == within && trimmed != "<DOC>" && number == nil:
			size += len(trimmed) + 1
			all += len(trimmed) + 1
			if size > longestTopic || all > longestTopics {
				return reject("topic", fmt.Sprintf("at most %d bytes, and all %d", longestTopic, longestTopics), "more")
			}
			text = append(text, trimmed)
		default:
			return reject("line", []string{"<DOC>", "<DOCNO> and a number", "the topic's text, and </DOC> at its end"}[state], fmt.Sprintf("%.40q", trimmed))
		}
		return nil
	})
	if err == nil && state != outside {
		err = reject(cacmTopics+", the last topic", "</DOC> at its end", "none")
	}
	return topics, places, err
}

// A reading says what of a collection is told apart.
type reading struct {
	citations bool // the table of citations is text as well
	stemmed   bool // words are their stems, by the second version of Porter's rules
	repeated  bool // words of a topic count as often as it has them
}

// readings are all that there are of a collection. The first is the plainest.
func (c *collection) readings() (list []reading) {
	for _, citations := range []bool{true, false} {
		if !citations && c.literal == nil {
			continue // the drawn one has none
		}
		for _, stemmed := range []bool{false, true} {
			for _, repeated := range []bool{true, false} {
				list = append(list, reading{citations, stemmed, repeated})
			}
		}
	}
	return list
}

var (
	tag      = regexp.MustCompile(`<[^>]*>`)
	citation = regexp.MustCompile(`(?m)^[0-9]+\t[0-9]+\t[0-9]+\s*$`)
)

// corpus is what a reading makes of a collection.
func (c *collection) corpus(r reading) *corpus {
	out := &corpus{judged: c.judged}
	numbers, known := map[string]int64{}, map[string]int64{} // of stems, and of words
	number := func(text string) (ids []int64) {
		for _, w := range words(text) {
			id, seen := known[w]
			if !seen {
				stem := w
				if r.stemmed {
					stem = english.Stem(w, true)
				}
				if id, seen = numbers[stem]; !seen {
					id = int64(len(numbers))
					numbers[stem] = id
				}
				known[w] = id
			}
			ids = append(ids, id)
		}
		return ids
	}
	for _, doc := range c.docs {
		doc = tag.ReplaceAllString(doc, "")
		if !r.citations {
			doc = citation.ReplaceAllString(doc, "")
		}
		out.docs = append(out.docs, number(doc))
	}
	for _, topic := range c.topics {
		query := number(topic)
		if !r.repeated {
			query = once(query)
		}
		out.queries = append(out.queries, query)
	}
	return out
}

// once has each number where it is first.
func once(query []int64) (out []int64) {
	for _, word := range query {
		if !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out
}

// words are runs of letters and digits, in lower case.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// literalPrecision is brute force's mean average precision by the literal judgements.
func (c *collection) literalPrecision(r reading) float64 {
	words := countWords(c.corpus(r))
	sum := 0.0
	for q, query := range words.queries {
		sum += averagePrecision(gains(descending(words.okapi(query, moduleK1, moduleB)), c.literal[q]), c.literal[q])
	}
	return sum / float64(len(words.queries))
}

// The drawn collection: words of a language by Zipf's law, some in another form, and
// for each topic words of its own, of which relevant documents have more.
const (
	drawnDocs, drawnTopics     = 300, 25
	drawnStems, drawnTopical   = 800, 4 // words of the language, and of a topic
	drawnRelevant, drawnDecoys = 6, 6   // documents of a topic
)

func drawCollection(seed uint64) *collection {
	r := rand.New(rand.NewPCG(seed, 0xcac3))
	stems := make([]string, drawnStems+drawnTopics*drawnTopical)
	for i := range stems {
		for range 2 + r.IntN(2) {
			stems[i] += string("bdfgklmnprt"[r.IntN(11)]) + string("aiou"[r.IntN(4)])
		}
		stems[i] += string("mnpt"[r.IntN(4)])
	}
	inflected := func(i int) string { return stems[i] + []string{"", "", "s", "ing"}[r.IntN(4)] }
	common := rand.NewZipf(r, 1.1, 4, drawnStems-1)
	c := &collection{note: fmt.Sprintf("drawn collection: %d documents, %d topics of %d words of their own, in %d relevant documents of two grades and %d decoys", drawnDocs, drawnTopics, drawnTopical, drawnRelevant, drawnDecoys)}
	texts := make([][]string, drawnDocs)
	for i := range texts {
		for range 30 + r.IntN(200) {
			texts[i] = append(texts[i], inflected(int(common.Uint64())))
		}
	}
	for t := range drawnTopics {
		own := func() string { return inflected(drawnStems + t*drawnTopical + r.IntN(drawnTopical)) }
		var topic []string
		for range 3 + r.IntN(3) {
			topic = append(topic, own())
		}
		for range 6 + r.IntN(6) {
			topic = append(topic, inflected(int(common.Uint64())))
		}
		c.topics = append(c.topics, strings.Join(topic, " "))
		var judged []judgement
		for n, doc := range r.Perm(drawnDocs)[:drawnRelevant+drawnDecoys] {
			relevance := max(0, min(2, drawnRelevant-n)) // 2, …, 2, 1, 0, …, 0
			for range 1 + relevance {
				texts[doc] = append(texts[doc], own())
			}
			judged = append(judged, judgement{doc, relevance})
		}
		c.judged = append(c.judged, judged)
	}
	for _, text := range texts {
		c.docs = append(c.docs, strings.Join(text, " "))
	}
	return c
}
