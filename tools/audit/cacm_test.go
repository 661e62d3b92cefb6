package audit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
)

func TestWords(t *testing.T) {
	got := words("IBM's 360/65: Programs\tprogramming,\n\x00time-sharing CA581203")
	if !slices.Equal(got, []string{"ibm", "s", "360", "65", "programs", "programming", "time", "sharing", "ca581203"}) {
		t.Errorf("%q", got)
	}
}

func TestReadings(t *testing.T) {
	c := &collection{docs: []string{"<html>\nSorts of a sort\n\n12\t5\t3000\n12\t6\t1\n</html>", "12 sorts"}, topics: []string{"sort sorts sort of 12"}, judged: [][]judgement{{{0, 1}}}}
	if len(c.readings()) != 4 {
		t.Errorf("%v", c.readings())
	}
	c.literal = c.judged
	if list := c.readings(); len(list) != 8 || list[0] != (reading{citations: true, repeated: true}) {
		t.Errorf("%v", list)
	}
	for _, w := range []struct {
		reading
		docs, query string
	}{
		{reading{citations: true, repeated: true}, "[[0 1 2 3 4 5 6 4 7 8] [4 0]]", "[3 0 3 1 4]"},
		{reading{citations: true}, "[[0 1 2 3 4 5 6 4 7 8] [4 0]]", "[3 0 1 4]"},
		{reading{stemmed: true, repeated: true}, "[[0 1 2 0] [3 0]]", "[0 0 0 1 3]"},
		{reading{stemmed: true}, "[[0 1 2 0] [3 0]]", "[0 1 3]"},
	} {
		got := c.corpus(w.reading)
		if docs, query := fmt.Sprint(got.docs), fmt.Sprint(got.queries[0]); docs != w.docs || query != w.query {
			t.Errorf("%+v: %s, %s; want %s, %s", w.reading, docs, query, w.docs, w.query)
		}
	}
}

// A small CACM: three documents, of which topic 1 has two and topic 9 none.
var smallTopics = "<DOC>\n<DOCNO> 1 </DOCNO>\n\n sorting, of\nlists\n\n</DOC>\n<DOC>\n<DOCNO> 9 </DOCNO>\n of \n</DOC>\n"

const smallJudgements = "1 Q0 CACM-2 1\n1 Q0 CACM-0012 2\n9 Q0 CACM-0001 0\n"

type tarFile struct {
	name, text string
	kind       byte
}

func smallDocs() []tarFile {
	return []tarFile{{"CACM-0001.html", "of", 0}, {"CACM-0002.html", "sorting", 0}, {"CACM-0012.html", "lists of lists", 0}}
}

// zipped is an archive of files, without the last bytes of the tar file and of the
// zipped one.
func zipped(t *testing.T, files []tarFile, cutTar, cutZip int) string {
	t.Helper()
	var plain, out bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, f := range files {
		if f.kind == 0 {
			f.kind = tar.TypeReg
		}
		header := &tar.Header{Name: f.name, Typeflag: f.kind, Size: int64(len(f.text)), Mode: 0o666}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&out)
	if _, err := z.Write(plain.Bytes()[:plain.Len()-cutTar]); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()[:out.Len()-cutZip]
}

func TestCACMIsRead(t *testing.T) {
	dir := t.TempDir()
	spoil(t, dir, cacmArchive, zipped(t, smallDocs(), 0, 0))
	spoil(t, dir, cacmTopics, smallTopics)
	spoil(t, dir, cacmJudgement, smallJudgements)
	c, err := readCACM(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.docs, c.topics, c.judged, c.literal, c.unpadded); got != "[of sorting lists of lists] [\nsorting, of\nlists\n] [[{1 1} {2 2}]] [[{-1 1} {2 2}]] 1" {
		t.Errorf("%s", got)
	}
	// Brute force has both first, and by the literal judgements half of that.
	if got := c.literalPrecision(reading{citations: true}); got != 0.5 {
		t.Errorf("%v", got)
	}
}

func TestCACMIsChecked(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(streamRetrieval).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("no file: %v, %v", err, f.Verdict)
	}
	docs := func(more ...tarFile) string { return zipped(t, append(smallDocs(), more...), 0, 0) }
	noise, random := make([]byte, longestDocument), rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var manyTopics []string
	for i := range mostTopics {
		manyTopics = append(manyTopics, fmt.Sprintf("<DOC>\n<DOCNO> %d </DOCNO>\nsorting\n</DOC>\n", 100+i))
	}
	for _, c := range []struct{ file, text, where string }{
		{cacmArchive, "no", "tar file, zipped"},
		{cacmArchive, docs()[:40], "whole tar file"},
		{cacmArchive, zipped(t, smallDocs(), 0, 5), "whole tar file"},
		{cacmArchive, zipped(t, append(smallDocs(), tarFile{"CACM-0013.html", string(noise), 0}), 1<<15, 0), "unexpected EOF"},
		{cacmArchive, zipped(t, nil, 0, 0), "want documents"},
		{cacmArchive, docs(tarFile{"CACM-0012.html", "", 0}), "CACM-0012.html: want a document after number 0012"},
		{cacmArchive, docs(tarFile{"CACM-0003.html", "", 0}), "CACM-0003.html: want a document after number 0012"},
		{cacmArchive, docs(tarFile{"../CACM-0013.html", "", 0}), "file 4: want a file CACM-nnnn.html"},
		{cacmArchive, docs(tarFile{"CACM-0013.html", "", tar.TypeDir}), "file 4: want a file CACM-nnnn.html"},
		{cacmArchive, docs(tarFile{"CACM-0013.html", strings.Repeat("x", longestDocument+1), 0}), "CACM-0013.html: want at most 65536 bytes"},
		{cacmTopics, smallTopics + "sorting\n", "line 12: audit: line: want <DOC>,"},
		{cacmTopics, smallTopics + "<DOC>\nsorting\n", "line 13: audit: line: want <DOCNO>"},
		{cacmTopics, smallTopics + "<DOC>\n<DOCNO> 9 </DOCNO>\n", "line 13: audit: topic: want one that there was not"},
		{cacmTopics, smallTopics + "<DOC>\n<DOCNO> x </DOCNO>\n", "line 13: audit: line: want <DOCNO>"},
		{cacmTopics, smallTopics + "<DOC>\n<DOCNO> 2 </DOCNO>\n?\n</DOC>\n", "line 15: audit: topic: want words"},
		{cacmTopics, smallTopics + "<DOC>\n<DOCNO> 2 </DOCNO>\nsorting\n<DOC>\n", "line 15: audit: line: want the topic's text"},
		{cacmTopics, smallTopics + "<DOC>\n<DOCNO> 2 </DOCNO>\nsorting\n", "the last topic: want </DOC>"},
		{cacmTopics, smallTopics + "<DOC>\n<DOCNO> 2 </DOCNO>\n" + strings.Repeat(strings.Repeat("x", 999)+"\n", 5), "line 18: audit: topic: want at most"},
		{cacmTopics, smallTopics + strings.Join(manyTopics, ""), "audit: topic: want at most 1024"},
		{cacmTopics, "", "want lines"},
		{cacmJudgement, smallJudgements + "1 Q0 CACM-0001\n", "line 4: audit: line"},
		{cacmJudgement, smallJudgements + "2 Q0 CACM-0001 1\n", "line 4: audit: topic"},
		{cacmJudgement, smallJudgements + "1 Q0 CACM-0003 1\n", "line 4: audit: document: want one of"},
		{cacmJudgement, smallJudgements + "1 Q0 0001 1\n", "line 4: audit: document: want one of"},
		{cacmJudgement, smallJudgements + "1 Q0 CACM-12 1\n", "line 4: audit: document: want one that the topic has no judgement of"},
		{cacmJudgement, smallJudgements + "1 Q0 CACM-0001 -1\n", "line 4: audit: relevance"},
		{cacmJudgement, smallJudgements + "1 Q0 CACM-0001 99999\n", "line 4: audit: relevance"},
		{cacmJudgement, smallJudgements + "1 Q0 CACM-0001 yes\n", "line 4: audit: relevance"},
		{cacmJudgement, "1 Q0 CACM-0001 0\n", "want a relevant document"},
		{cacmJudgement, "", "want lines"},
	} {
		spoil(t, a.Data, cacmArchive, docs())
		spoil(t, a.Data, cacmTopics, smallTopics)
		spoil(t, a.Data, cacmJudgement, smallJudgements)
		spoil(t, a.Data, c.file, c.text)
		f := &Finding{}
		err := rerankRetrieval(context.Background(), a, f)
		refused(t, f, err, c.where)
		if err != nil && !strings.Contains(err.Error(), c.file) {
			t.Errorf("%v, want %s", err, c.file)
		}
	}
}

// A small file that unpacks to more than there is memory for is not unpacked.
func TestABombIsRefused(t *testing.T) {
	sequential(t)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	header := make([]byte, 512)
	for range (mostUnpacked + 1<<20) / len(header) { // zeros: an empty archive, and what is behind it
		if _, err := z.Write(header); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	spoil(t, dir, cacmArchive, out.String())
	_, _, err := readArchive(dir)
	refused(t, &Finding{}, err, "up to 67108864 bytes, zipped, got more")
}

// The figures are an independent program's: of brute force in Python, and to three
// digits of whoever made the folder. Its reader finds no document CACM-756, which is
// CACM-0756: 55 judgements are of no use to it.
func TestCACM(t *testing.T) {
	sequential(t)
	c, err := readCACM(dataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.docs) != 3204 || len(c.topics) != 52 || c.unpadded != 55 {
		t.Errorf("%d documents, %d topics, %d names without zeros", len(c.docs), len(c.topics), c.unpadded)
	}
	for _, w := range []struct {
		repeated                                bool
		literal, precision, gain, found, common string
	}{{true, "0.2666", "0.2770", "0.3904", "0.6021", "0.2787"}, {false, "0.2509", "0.2596", "0.3799", "0.6008", "0.2585"}} {
		r := reading{citations: true, repeated: w.repeated}
		if got := fmt.Sprintf("%.4f", c.literalPrecision(r)); got != w.literal {
			t.Errorf("%+v: %s by names as they are written, want %s", r, got, w.literal)
		}
		words := c.corpus(r)
		brute := countWords(words)
		m, err := measureRankers(context.Background(), words, []ranker{{"", func(q int) ([]int, []float64, error) {
			return descending(brute.okapi(words.queries[q], moduleK1, moduleB)), nil, nil
		}}})
		if err != nil || m.departed > 0 {
			t.Fatalf("%v, %d", err, m.departed)
		}
		for _, v := range []struct {
			got  perTopic
			want string
		}{{m.precision, w.precision}, {m.gain, w.gain}, {m.recall, w.found}, {m.common, w.common}} {
			if got := fmt.Sprintf("%.4f", v.got.mean()); got != v.want {
				t.Errorf("%+v: %s, want %s", r, got, v.want)
			}
		}
	}
}
