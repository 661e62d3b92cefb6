package audit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// A corpus is documents and queries as numbers of words, and the judgements of each
// query.
type corpus struct {
	docs, queries [][]int64
	judged        [][]judgement
}

// A judgement is how relevant a document is to a query: 0 is not at all. Document −1 is
// one that no ranking has.
type judgement struct{ doc, relevance int }

// relevant counts the documents that are.
func relevant(judged []judgement) (n int) {
	for _, j := range judged {
		if j.relevance > 0 {
			n++
		}
	}
	return n
}

// gains are the relevances of documents in an order, 0 where one is not judged.
func gains(order []int, judged []judgement) []int {
	of := make([]int, len(order))
	for _, j := range judged {
		if j.doc >= 0 {
			of[j.doc] = j.relevance
		}
	}
	list := make([]int, len(order))
	for rank, doc := range order {
		list[rank] = of[doc]
	}
	return list
}

// The measures of a ranking are those of TREC: precision is averaged over the relevant
// documents, 0 for one that is not ranked; a gain of g at rank r counts g/log₂(r+1),
// and is divided by what the best order has.
const (
	gainDepth   = 10
	recallDepth = 100
)

func averagePrecision(gains []int, judged []judgement) float64 {
	sum, found := 0.0, 0
	for i, g := range gains {
		if g > 0 {
			found++
			sum += float64(found) / float64(i+1)
		}
	}
	return sum / float64(relevant(judged))
}

func normalisedGain(gains []int, judged []judgement) float64 {
	return discounted(gains) / idealGain(judged)
}

func idealGain(judged []judgement) float64 {
	var best []int
	for _, j := range judged {
		best = append(best, j.relevance)
	}
	slices.SortFunc(best, func(p, q int) int { return q - p })
	return discounted(best)
}

func discounted(gains []int) (sum float64) {
	for i, g := range gains[:min(gainDepth, len(gains))] {
		sum += float64(g) / math.Log2(float64(i+2))
	}
	return sum
}

func recalled(gains []int, judged []judgement) float64 {
	n := 0
	for _, g := range gains[:min(recallDepth, len(gains))] {
		if g > 0 {
			n++
		}
	}
	return float64(n) / float64(relevant(judged))
}

// randomPrecision is the average precision that a random order of n documents, r of
// which are relevant, is expected to have: one at rank k has a precision of
// (1 + (k−1)(r−1)/(n−1))/k.
func randomPrecision(n, r int) float64 {
	sum := 0.0
	for k := 1; k <= n; k++ {
		sum += (1 + float64((k-1)*(r-1))/float64(max(1, n-1))) / float64(k)
	}
	return sum / float64(n)
}

// A wordCount has how often documents have the words of all queries.
type wordCount struct {
	*corpus
	numbers map[int64]int
	times   [][]float64 // by word and document
	lengths []float64
	mean    float64
}

func countWords(c *corpus) *wordCount {
	w := &wordCount{corpus: c, numbers: map[int64]int{}, lengths: make([]float64, len(c.docs))}
	for _, query := range c.queries {
		for _, word := range query {
			if _, known := w.numbers[word]; !known {
				w.numbers[word] = len(w.numbers)
				w.times = append(w.times, make([]float64, len(c.docs)))
			}
		}
	}
	for d, doc := range c.docs {
		w.lengths[d] = float64(len(doc))
		for _, word := range doc {
			if n, asked := w.numbers[word]; asked {
				w.times[n][d]++
			}
		}
	}
	w.mean = total(w.lengths) / float64(len(c.docs))
	return w
}

// okapi scores every document by BM25 as Robertson and Zaragoza have it, with Lucene's
// idf: a word counts as often as the query has it.
func (w *wordCount) okapi(query []int64, k1, b float64) []float64 {
	scores := make([]float64, len(w.docs))
	for _, word := range query {
		times, with := w.times[w.numbers[word]], 0.0
		for _, n := range times {
			if n > 0 {
				with++
			}
		}
		all := float64(len(w.docs))
		idf := math.Log(1 + (all-with+0.5)/(with+0.5))
		for d, n := range times {
			if n > 0 {
				length := 1 - b + b*w.lengths[d]/w.mean
				scores[d] += float64(idf * n * (k1 + 1) / (n + float64(k1*length)))
			}
		}
	}
	return scores
}

// overlap scores a document by how often it has words of the query.
func (w *wordCount) overlap(query []int64) []float64 {
	scores := make([]float64, len(w.docs))
	for _, word := range query {
		for d, n := range w.times[w.numbers[word]] {
			scores[d] += n
		}
	}
	return scores
}

// descending are the documents by score, of equal ones the lowest first.
func descending(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(p, q int) int { return cmp.Compare(scores[q], scores[p]) })
	return order
}

// sameScore is how far two float64 sums of the same terms may be from each other, as a
// share of the greatest score.
const sameScore = 1e-12

// departs reports whether an order is not that of scores: a document comes after one
// that scores less by more than a rounding, or after one that has the query's words as
// often in as long a text, and a higher index.
func (w *wordCount) departs(query []int64, order []int, scores []float64) bool {
	least := math.Inf(1)
	for i, d := range order {
		if scores[d] > least+sameScore*scores[order[0]] {
			return true
		}
		least = min(least, scores[d])
		if i > 0 && d < order[i-1] && w.alike(query, d, order[i-1]) {
			return true
		}
	}
	return false
}

func (w *wordCount) alike(query []int64, p, q int) bool {
	found := 0.0
	for _, word := range query {
		times := w.times[w.numbers[word]]
		if times[p] != times[q] {
			return false
		}
		found += times[p]
	}
	return found == 0 || w.lengths[p] == w.lengths[q]
}

// The constants of the module's BM25, and those of common experiments.
const (
	moduleK1, moduleB = 1.2, 0.75
	commonK1, commonB = 0.9, 0.4
)

// A ranker ranks all documents for a query of a corpus, best first. Relevances are in
// the order of the ranks; nil where it tells none.
type ranker struct {
	name string
	rank func(query int) (order []int, relevances []float64, err error)
}

// complete rejects what is no order of n documents.
func complete(order []int, n int) error {
	if len(order) != n {
		return fmt.Errorf("%d documents of %d are ranked: the audit cannot be trusted", len(order), n)
	}
	seen := make([]bool, n)
	for _, d := range order {
		if d < 0 || d >= n || seen[d] {
			return fmt.Errorf("document %d of %d is ranked twice, or is none: the audit cannot be trusted", d, n)
		}
		seen[d] = true
	}
	return nil
}

// tells reports whether relevances, where there are some, are scores.
func tells(order []int, relevances, scores []float64) bool {
	for i, v := range relevances {
		if !(math.Abs(v-scores[order[i]]) <= sameScore*scores[order[i]]) {
			return false
		}
	}
	return true
}

// A perTopic is a measure of each topic's ranking.
type perTopic []float64

func (m perTopic) mean() float64 { return total(m) / float64(len(m)) }

func (m perTopic) interval(seed uint64) Interval {
	_, interval := average(1, m, seed, "topics")
	return interval
}

// text is mean and interval.
func (m perTopic) text(seed uint64, verb string) string {
	return fmt.Sprintf(verb+" (%s)", m.mean(), m.interval(seed).Text(verb))
}

// A measured is what one reading of a collection comes to: for the ranker that is
// judged, the baselines and the other rankers.
type measured struct {
	precision, gain, recall perTopic
	common, overlap, random perTopic // average precisions
	others                  []perTopic
	departed                int // rankings that are not brute force's
}

func measureRankers(ctx context.Context, c *corpus, rankers []ranker) (*measured, error) {
	w, m := countWords(c), &measured{others: make([]perTopic, len(rankers)-1)}
	for q, query := range c.queries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		judged := c.judged[q]
		precision := func(order []int) float64 { return averagePrecision(gains(order, judged), judged) }
		for n, r := range rankers {
			order, relevances, err := r.rank(q)
			if err == nil {
				err = complete(order, len(c.docs))
			}
			if err != nil {
				return nil, err
			}
			if n > 0 {
				m.others[n-1] = append(m.others[n-1], precision(order))
				continue
			}
			if scores := w.okapi(query, moduleK1, moduleB); w.departs(query, order, scores) || !tells(order, relevances, scores) {
				m.departed++
			}
			found := gains(order, judged)
			m.precision = append(m.precision, averagePrecision(found, judged))
			m.gain = append(m.gain, normalisedGain(found, judged))
			m.recall = append(m.recall, recalled(found, judged))
		}
		m.common = append(m.common, precision(descending(w.okapi(query, commonK1, commonB))))
		m.overlap = append(m.overlap, precision(descending(w.overlap(query))))
		m.random = append(m.random, randomPrecision(len(c.docs), relevant(judged)))
	}
	return m, nil
}

// judgeRetrieval judges the first of some rankers, on every reading of a collection,
// and gives the others a column. It is supported where the ranker's orders are those of
// brute force, and better than those of overlap whatever the reading.
func judgeRetrieval(ctx context.Context, a *Audit, f *Finding, rankersOf func(c *corpus) ([]ranker, error)) error {
	all, err := a.collection(f)
	if err != nil {
		return err
	}
	curve := &Curve{Columns: []string{"citations kept", "stemmed", "repeated words count", "MAP", fmt.Sprintf("nDCG@%d", gainDepth), fmt.Sprintf("recall@%d", recallDepth),
		fmt.Sprintf("MAP k1 %v b %v", commonK1, commonB), "MAP overlap", "MAP random"}}
	better, departed, rankings := 0, 0, 0
	readings := all.readings()
	for i, r := range readings {
		c := all.corpus(r)
		rankers, err := rankersOf(c)
		if spec.KindOf(err) == spec.Unsupported {
			f.Verdict, f.Note, f.Evidence = Unmeasured, "not offered", nil
			return nil
		}
		if err != nil {
			return err
		}
		m, err := measureRankers(ctx, c, rankers)
		if err != nil {
			return err
		}
		row := []float64{oneIf(r.citations), oneIf(r.stemmed), oneIf(r.repeated), m.precision.mean(), m.gain.mean(), m.recall.mean(), m.common.mean(), m.overlap.mean(), m.random.mean()}
		for n, o := range m.others {
			row = append(row, o.mean())
			if i == 0 {
				curve.Columns = append(curve.Columns, "MAP "+rankers[n+1].name)
			}
		}
		curve.add(row...)
		departed, rankings = departed+m.departed, rankings+len(c.queries)
		gained := slices.Clone(m.precision)
		for q, p := range m.overlap {
			gained[q] -= p
		}
		if gained.interval(a.Seed).Low > 0 {
			better++
		}
		if i == 0 {
			figure, interval := m.precision.mean(), m.precision.interval(a.Seed)
			f.Figure, f.Unit, f.Interval = &figure, "mean average precision", &interval
			f.Note = fmt.Sprintf("%s. The figure is of plain words of letters and digits, a repeated one of a topic counted each time, without recency: nDCG@%d %s, recall@%d %s. Against the order of overlap, how often a document has the topic's words, %s",
				all.note, gainDepth, m.gain.text(a.Seed, "%.3f"), recallDepth, m.recall.text(a.Seed, "%.3f"), gained.text(a.Seed, "%+.3f"))
		}
	}
	f.Curve = curve
	f.Verdict = retrievalVerdict(better, len(readings), departed)
	f.Note += fmt.Sprintf("; it is above 0 within its interval in %d of %d readings. Of random order the column has the expectation", better, len(readings))
	if departed > 0 {
		f.Note += fmt.Sprintf(". %d of %d rankings are not those of BM25 by brute force, k1 %v and b %v", departed, rankings, moduleK1, moduleB)
	} else {
		f.Note += fmt.Sprintf(". All %d rankings are those of BM25 by brute force, k1 %v and b %v; scores within %g of the greatest may change places", rankings, moduleK1, moduleB, sameScore)
	}
	if all.literal != nil {
		repeated, single := all.literalPrecision(reading{citations: true, repeated: true}), all.literalPrecision(reading{citations: true})
		f.Note += fmt.Sprintf(". %d judgements name a document without the archive's leading zeros; if they found none, brute force would have %.4f, and %.4f with repeated words counted once", all.unpadded, repeated, single)
	}
	return nil
}

// retrievalVerdict is by the readings whose rankings are better than overlap's, and the
// rankings that are not brute force's.
func retrievalVerdict(better, readings, departed int) Verdict {
	switch {
	case departed > 0 || better == 0:
		return Refuted
	case better < readings:
		return Conditional
	default:
		return Supported
	}
}
