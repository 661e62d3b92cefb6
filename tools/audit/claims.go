package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/squishspec/squishspec/spec"
)

// A judge of a claim measures what it needs and fills in verdict, figure, interval,
// note and evidence of a finding.
type claimJudge func(ctx context.Context, a *Audit, f *Finding) error

// run judges, and says what is wanting where the data folder has no such file, or the
// implementation no such operation: neither is an error.
func (judge claimJudge) run(ctx context.Context, a *Audit, f *Finding) error {
	err := judge(ctx, a, f)
	var file *fs.PathError
	switch {
	case errors.As(err, &file) && errors.Is(err, fs.ErrNotExist):
		name, relative := filepath.Rel(a.Data, file.Path)
		if relative != nil {
			name = file.Path
		}
		f.Verdict, f.Note = Unmeasured, "the data folder has no "+filepath.ToSlash(name)
	case spec.KindOf(err) == spec.Unsupported:
		f.Verdict, f.Note = Unmeasured, "not offered: "+err.Error()
	default:
		return err
	}
	f.Figure, f.Interval, f.Exact, f.Curve, f.Evidence = nil, nil, false, nil, nil // nothing by halves
	return nil
}

// A question is a claim, score or figure of the page with its judge.
type question struct {
	id, module, claim string
	judge             claimJudge
}

// How far a measured figure may be from the claimed one, as a share of it: a figure
// with a tilde is meant roughly, one without it as it stands.
const (
	roughly = 0.10
	exactly = 0.02
)

// about reports whether a figure is the claimed one.
func about(measured, claimed, tolerance float64) bool {
	return math.Abs(measured-claimed) <= tolerance*claimed
}

// questions are all that this package judges, in the page's order, and then beyond it.
func questions() []question {
	judges := map[string]claimJudge{
		"image-token-reduction":   imageTokens,
		"cot-length-reduction":    traceReduction,
		"kv-memory-hierarchical":  tieredHits,
		"rag-prefetch-hit-rate":   prefetchHits,
		"cross-modal-flops":       attentionOperations,
		"video-token-reduction":   videoTokens,
		"weight-size-ternary":     ternarySize,
		"weight-size-binary":      binarySize,
		"structured-sparsity":     structuredSparsity,
		"delta-compression":       deltaRatio,
		"iterative-sparsity":      iterativeSparsity,
		"awq-int4-size":           awqSize,
		"expert-routing-overhead": routingOverhead,
		"layer-fusion-memory":     fusionMemory,
	}
	var list []question
	for _, c := range spec.Claims() {
		if j := judges[c.ID]; j != nil {
			list = append(list, question{c.ID, c.Module, c.Technique + ": " + c.Text, j})
		}
	}
	baseline := spec.AccuracyBaseline()
	for i, t := range Tasks() {
		score := baseline.Scores[i]
		list = append(list, question{"score/" + score.Task, "", fmt.Sprintf("%s: %s %.1f%% on %s", baseline.Model, score.Metric, score.Score, score.Task),
			func(ctx context.Context, a *Audit, f *Finding) error { return taskScore(ctx, a, &t, score, f) }})
	}
	figures := map[string]claimJudge{
		"weight-sharing/memory-ratio":      sharingRatio,
		"sparse-weight/compression-ratio":  sparseRatio,
		"delta-compress/compression-ratio": deltaRatio,
		"zero-quant-v2/outlier-rate":       outlierRate,
		"iter-prune/sparsity-at-step-10":   iterativeSparsity,
	}
	for _, r := range spec.Rows() {
		if j := figures[r.ID]; j != nil {
			list = append(list, question{r.ID, r.Module, fmt.Sprintf("%s: %v%s (%s)", r.Label, r.Value, map[string]string{"x": "×", "%": "%"}[r.Unit], r.Note), j})
		}
	}
	return append(list, beyond()...)
}

// beyond are questions that the page has no figure of: whether a module does on real
// inputs what its rows say it is for.
func beyond() []question {
	return []question{
		{"layer-fusion/energy", "layer-fusion", "no figure on the page: neighbouring layers are alike", fusionEnergy},
		{"weight-sharing/energy", "weight-sharing", "no figure on the page: layers share one copy", sharingEnergy},
		{"delta-compress/energy", "delta-compress", "no figure on the page: a fine-tune comes back from its base and factors of rank 16", deltaEnergy},
		{"stream-rag/retrieval", "stream-rag", "no figure on the page: BM25 similarity retrieval finds what is relevant", streamRetrieval},
		{"contextual-rerank/retrieval", "contextual-rerank", "no figure on the page: BM25 relevance re-scoring puts first what is relevant", rerankRetrieval},
		{"multimodal-batch/waiting", "multimodal-batch", "no figure on the page: no request of text or vision waits without bound", batchWaiting},
		{"sparse-moe/load-balance", "sparse-moe", "no figure on the page: a load-balanced expert gate gives experts about as many tokens each", loadBalance},
		{"long-context-chunk/boundaries", "long-context-chunk", "no figure on the page: chunks end where the topic changes", topicBoundaries},
		{"embedding-gate/routing", "embedding-gate", "no figure on the page: embeddings are routed to text or vision", gateRouting},
	}
}

// IDs returns what [Audit.Find] judges.
func IDs() (ids []string) {
	for _, q := range questions() {
		ids = append(ids, q.id)
	}
	return ids
}

// Find judges one claim, score or figure.
func (a *Audit) Find(ctx context.Context, id string) (*Finding, error) {
	for _, q := range questions() {
		if q.id != id {
			continue
		}
		f := &Finding{Type: "finding", ID: q.id, Module: q.module, Claim: q.claim, Command: "conform audit" + a.Arguments + " --claim " + q.id}
		if err := q.judge.run(ctx, a, f); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		return f, nil
	}
	return nil, reject("claim", "one that conform audit --list names", fmt.Sprintf("%q", id))
}

// measured fills in a figure that is counted and not estimated.
func (f *Finding) counted(figure float64, unit string) {
	f.Figure, f.Unit, f.Exact = &figure, unit, true
}

// row is a method's row that the finding then rests on. One that was skipped makes
// the claim unmeasured.
func (f *Finding) row(ctx context.Context, a *Audit, method string) (*Row, error) {
	row, err := a.Row(ctx, method)
	if err != nil {
		return nil, err
	}
	f.Evidence = append(f.Evidence, "method "+method)
	if row.Skipped != "" {
		f.Verdict, f.Note = Unmeasured, method+": "+row.Skipped
		return nil, nil
	}
	return row, nil
}

// cost says what a method costs in quality.
func (r *Row) cost() string {
	return fmt.Sprintf("%s: perplexity %.4g, %+.3f nats a token (%s)", r.Method, r.Perplexity, r.Worse.By, r.Worse.Interval.Text("%+.3f"))
}

func ternarySize(ctx context.Context, a *Audit, f *Finding) error {
	const claimed = 5
	row, err := f.row(ctx, a, "ternary-quant/threshold-0.5")
	if row == nil {
		return err
	}
	f.counted(row.RatioToFP16, "× against FP16")
	f.Verdict = Refuted
	if about(row.RatioToFP16, claimed, roughly) {
		f.Verdict = Supported
	}
	f.Note = fmt.Sprintf("five codes to a byte and a float32 scale a matrix take %.3f bits a weight: %.2f× against FP16 and %.2f× against INT8; codes that stay a byte each, as the page's program has them, take 2.00× against FP16. %s",
		row.BitsPerWeight, row.RatioToFP16, row.RatioToFP16/2, row.cost())
	return nil
}

func binarySize(ctx context.Context, a *Audit, f *Finding) error {
	const claimed = 16
	row, err := f.row(ctx, a, "binary-attn/attention")
	if row == nil {
		return err
	}
	dim := float64(a.Subject.Model.Config.HeadDim)
	keys := 16 * dim / float64(8*packedBytes(int(dim), 1))
	f.counted(row.RatioToFP16, "× against FP16")
	switch {
	case about(row.RatioToFP16, claimed, roughly):
		f.Verdict = Supported
	case about(keys, claimed, roughly):
		f.Verdict = Conditional
	default:
		f.Verdict = Refuted
	}
	f.Note = fmt.Sprintf("the module holds no weights. Packed keys are %.2f× smaller than in FP16, keys and values together %.2f×, for values stay. %s", keys, row.RatioToFP16, row.cost())
	return nil
}

func structuredSparsity(ctx context.Context, a *Audit, f *Finding) error {
	prune, err := a.Implementation.StructuredPrune(spec.DefaultStructuredPruneConfig())
	if err != nil {
		return err
	}
	weights, err := matrices(a.Subject.Model)
	if err != nil {
		return err
	}
	zeros, all, broken := 0, 0, 0
	for _, w := range weights {
		if w.Cols%4 != 0 {
			w = cropped(w, w.Cols/4*4)
		}
		var pruned spec.PrunedWeights
		if err := prune.Prune(&pruned, w); err != nil {
			return err
		}
		for at := 0; at < len(pruned.Mask); at += 4 {
			kept := count(pruned.Mask[at : at+4])
			if zeros += 4 - kept; kept != 2 {
				broken++
			}
		}
		all += len(pruned.Mask)
	}
	sparsity := float64(zeros) / float64(all)
	f.counted(100*sparsity, "% zeros")
	f.Verdict = Supported
	if broken > 0 {
		f.Verdict = Refuted
	}
	row, err := f.row(ctx, a, "structured-prune/2:4")
	if row == nil {
		return err
	}
	groups, err := f.row(ctx, a, "structured-prune/rows-50%")
	if err != nil {
		return err
	}
	f.Note = fmt.Sprintf("of %d groups of four, %d do not keep two. That is by magnitude, not by the L2 norm of groups that the page names. Stored with two-bit places it takes %.2f bits a weight. %s",
		all/4, broken, row.BitsPerWeight, row.cost())
	if groups != nil {
		f.Note += "; " + groups.cost()
	}
	return nil
}

// deltaRatio serialises the factors of a 256×256 difference, which is the page's
// own size, and looks at the model's.
func deltaRatio(ctx context.Context, a *Audit, f *Finding) error {
	const claimed, size, rank = 7.98, 256, 16
	d, err := a.Implementation.DeltaCompress(spec.DeltaCompressConfig{Rank: rank})
	if err != nil {
		return err
	}
	base, tuned := gaussian(size, size, a.Seed), gaussian(size, size, a.Seed+1)
	for i, v := range base.Data {
		tuned.Data[i] = v + tuned.Data[i]/100
	}
	var factors spec.LowRank
	if err := d.Compress(&factors, base, tuned); err != nil {
		return err
	}
	r := &Record{}
	r.addFull("u", factors.U.Data)
	r.addFull("s", factors.S)
	r.addFull("vt", factors.Vt.Data)
	ratio := 4 * float64(size*size) / float64(r.Bytes())
	f.counted(ratio, "×")
	noise := keptEnergy(factors.S, base, tuned)
	f.Note = fmt.Sprintf("%.3f× is what %d×%d numbers are to the factors of rank %d, whatever they hold, and leaves out the base. Of the page's own difference, noise, the factors keep %.1f%% of the energy",
		ratio, size, size, rank, 100*noise)
	switch row, err := f.row(ctx, a, fmt.Sprintf("delta-compress/rank-%d", rank)); {
	case err != nil:
		return err
	case row == nil:
		f.Verdict = Conditional
		f.Note += ". There is no fine-tune here to measure the model's own ratio"
	default:
		f.Verdict = Conditional
		if about(row.RatioToFP16/2*4, claimed, exactly) { // float32 factors of float32 weights
			f.Verdict = Supported
		}
		f.Note += fmt.Sprintf(". On this model's matrices rank %d is %.2f×; %s", rank, 32/row.BitsPerWeight, row.cost())
	}
	if !about(ratio, claimed, exactly) {
		f.Verdict = Refuted
	}
	return nil
}

// keptEnergy is the share of ‖tuned − base‖² that singular values make up.
func keptEnergy(s []float32, base, tuned spec.Matrix) float64 {
	kept, all := 0.0, 0.0
	for _, v := range s {
		kept += float64(float64(v) * float64(v))
	}
	for i, v := range tuned.Data {
		d := float64(v) - float64(base.Data[i])
		all += float64(d * d)
	}
	return kept / all
}

// tolerable is how many nats a token a method may cost before it is said to cost
// quality: 5% of perplexity.
var tolerable = math.Log(1.05)

func iterativeSparsity(ctx context.Context, a *Audit, f *Finding) error {
	const claimed = 70.0
	config := spec.DefaultIterPruneConfig(10)
	prune, err := a.Implementation.IterPrune(config)
	if err != nil {
		return err
	}
	weights, err := matrices(a.Subject.Model)
	if err != nil {
		return err
	}
	zeros, all := 0, 0
	for _, w := range weights {
		var pruned spec.IterPruned
		if err := prune.PruneStep(&pruned, w.Data, 10); err != nil {
			return err
		}
		for _, v := range pruned.Pruned {
			if v == 0 {
				zeros++
			}
		}
		all += len(w.Data)
	}
	sparsity := 100 * float64(zeros) / float64(all)
	f.counted(sparsity, "% zeros")
	row, err := f.row(ctx, a, "iter-prune/70%")
	if row == nil {
		return err
	}
	switch {
	case math.Abs(sparsity-claimed) > 0.1:
		f.Verdict = Refuted
	case row.Worse.Interval.Low > tolerable:
		f.Verdict = Conditional
	default:
		f.Verdict = Supported
	}
	f.Note = fmt.Sprintf("step 10 of the schedule zeroes what it is told to, and nothing converges: no weight is trained on the way, and one call does it. The model does not survive it: %s", row.cost())
	if f.Verdict == Supported {
		f.Note = "step 10 of the schedule zeroes what it is told to. " + row.cost()
	}
	return nil
}

func awqSize(ctx context.Context, a *Audit, f *Finding) error {
	const claimed = 4
	row, err := f.row(ctx, a, "awq-v2/4-bit-group-128")
	if row == nil {
		return err
	}
	// A layer as wide as a real one, where groups are whole.
	config := spec.DefaultAWQv2Config()
	q, err := a.Implementation.AWQv2(config)
	if err != nil {
		return err
	}
	wide := matrix{weights: gaussian(256, 4096, a.Seed), activations: gaussian(8, 4096, a.Seed+1)}
	wide.Rows, wide.Cols = 256, 4096
	r, err := awqCodec(q, config).compress(wide)
	if err != nil {
		return err
	}
	ratio := 2 * float64(wide.Rows*wide.Cols) / float64(r.Bytes())
	f.counted(ratio, "× against FP16")
	f.Verdict = Refuted
	if about(ratio, claimed, exactly) {
		f.Verdict = Supported
	}
	f.Note = fmt.Sprintf("4-bit codes alone are 4×; with a float16 scale and a zero point for each 128 inputs, and a float16 scale an input, a %d×%d layer takes %.3f bits a weight. On this model, whose rows are shorter, %.3f bits, %.2f×; %s",
		wide.Rows, wide.Cols, 16/ratio, row.BitsPerWeight, row.RatioToFP16, row.cost())
	return nil
}

func fusionMemory(ctx context.Context, a *Audit, f *Finding) error {
	row, err := f.row(ctx, a, "layer-fusion/most-similar-pair")
	if row == nil {
		return err
	}
	layer := row.Weights / a.Subject.Model.Config.Layers
	saved := 2*row.Weights - row.Bytes
	f.counted(float64(saved)/float64(2*layer), "layers saved")
	f.Verdict = Refuted
	if saved == 2*layer { // one pair
		f.Verdict = Supported
	}
	plan, err := f.row(ctx, a, "layer-fusion/plan")
	if plan == nil {
		return err
	}
	f.Note = fmt.Sprintf("one fused pair saves %d bytes of FP16, one layer's. At the module's own threshold: %s. %s", saved, plan.Note, row.cost())
	return nil
}

func sharingRatio(_ context.Context, a *Audit, f *Finding) error {
	const claimed = 0.25
	bytes := func(layers, rank int) (float64, error) {
		s, err := a.Implementation.WeightSharing(spec.WeightSharingConfig{HiddenDim: 256, NSharedLayers: layers, Rank: rank})
		if err != nil {
			return 0, err
		}
		return float64(s.MemoryBytes()) / float64(s.DenseMemoryBytes()), nil
	}
	page, err := bytes(4, 0)
	if err != nil {
		return err
	}
	harness, err := bytes(8, 16)
	if err != nil {
		return err
	}
	other, err := bytes(4, 16)
	if err != nil {
		return err
	}
	f.counted(page, "of the dense size")
	f.Verdict = Refuted
	if about(page, claimed, exactly) {
		f.Verdict = Supported
		if !about(other, claimed, exactly) {
			f.Verdict = Conditional
		}
	}
	f.Note = fmt.Sprintf("4 layers of 256×256 as one copy, rank 0, are %.3f; what the page's program ran, 8 layers with rank 16, are %.3f by coincidence; 4 layers with rank 16 are %.3f", page, harness, other)
	return nil
}

func sparseRatio(_ context.Context, a *Audit, f *Finding) error {
	const claimed = 1.33
	ratio := func(format spec.SparseFormat, zeros float64) (float64, error) {
		config := spec.DefaultSparseWeightConfig()
		config.Format = format
		s, err := a.Implementation.SparseWeight(config)
		if err != nil {
			return 0, err
		}
		w := gaussian(128, 256, a.Seed)
		thin(w.Data, zeros, a.Seed)
		if err := s.Compress(w); err != nil {
			return 0, err
		}
		packing, ok := s.(spec.SparseWeightStorage)
		if !ok {
			return s.CompressionRatio(), nil
		}
		var packed []uint8
		if err := packing.Pack(&packed); err != nil {
			return 0, err
		}
		if len(packed) != s.MemoryBytes() {
			return 0, fmt.Errorf("%s: %d bytes were packed, memory_bytes says %d: the audit cannot be trusted", format, len(packed), s.MemoryBytes())
		}
		return 4 * float64(len(w.Data)) / float64(len(packed)), nil
	}
	csr, err := ratio(spec.FormatCSR, 0.3)
	if err != nil {
		return err
	}
	nm, err := ratio(spec.FormatNM, 0)
	if err != nil {
		return err
	}
	sparse, err := ratio(spec.FormatCSR, 0.7)
	if err != nil {
		return err
	}
	f.counted(csr, "× against float32")
	switch {
	case about(csr, claimed, exactly):
		f.Verdict = Supported
	case about(nm, claimed, exactly):
		f.Verdict = Conditional
	default:
		f.Verdict = Refuted
	}
	f.Note = fmt.Sprintf("CSR of a 128×256 matrix with 30%% zeros, the page's row, is %.3f×, larger than dense where that is below 1; with 70%% zeros %.3f×. The figure is that of 2:4 with 4-byte values and 2-byte columns: %.3f× against float32, %.3f× against FP16", csr, sparse, nm, nm/2)
	return nil
}

func outlierRate(ctx context.Context, a *Audit, f *Finding) error {
	const claimed = 1.17
	rate := func(group int) (float64, Interval, error) {
		q, err := a.Implementation.ZeroQuantV2(spec.ZeroQuantV2Config{NBits: 8, GroupSize: group, OutlierThreshold: 0.95})
		if err != nil {
			return 0, Interval{}, err
		}
		var quantized spec.ZeroQuantWeights
		err = q.Quantize(&quantized, gaussian(256, 256, a.Seed))
		stats := q.Stats()
		i := wilson(stats.Outliers, stats.Elements)
		i.Low, i.High = 100*i.Low, 100*i.High
		return 100 * stats.OutlierRate, i, err
	}
	page, interval, err := rate(128)
	if err != nil {
		return err
	}
	small, _, err := rate(32)
	if err != nil {
		return err
	}
	f.Figure, f.Unit, f.Interval = &page, "% outliers", &interval
	f.Verdict = Refuted
	if about(page, claimed, roughly) {
		f.Verdict = Supported
		if !about(small, claimed, roughly) {
			f.Verdict = Conditional
		}
	}
	f.Note = fmt.Sprintf("Gaussian weights with groups of 128 have %.2f%%, with groups of 32 %.2f%%: what exceeds 95%% of a group's largest magnitude is at least one in a group, 1/128 = 0.78%%, whatever the weights", page, small)
	return nil
}

// isPagesModel reports whether a model is of the size that the page's scores are of:
// Qwen2.5-1.5B.
func (a *Audit) isPagesModel() bool {
	c := a.Subject.Model.Config
	return c.Bias && c.Dim == 1536 && c.Layers == 28 && c.Hidden == 8960
}

// fewItems is below what a score says anything.
const fewItems = 100

func taskScore(ctx context.Context, a *Audit, t *Task, page spec.Score, f *Finding) error {
	if a.Data == "" {
		f.Verdict, f.Note = Unmeasured, fmt.Sprintf("it is of Qwen2.5-1.5B on items that are not embedded: --data DIR with %s, and --model DIR", t.File)
		return nil
	}
	items, err := t.read(a.Data)
	if err != nil {
		return err
	}
	s, err := a.score(ctx, t, items)
	if err != nil {
		return err
	}
	figure := 100 * s.Accuracy
	f.Figure, f.Unit = &figure, "% "+t.Metric
	f.Interval = &Interval{100 * s.Interval.Low, 100 * s.Interval.High, s.Interval.Confidence, s.Interval.Method}
	f.Evidence = append(f.Evidence, "score "+t.Name)
	f.Note = fmt.Sprintf("%d items, chance is %.1f%%", s.Items, 100*s.Chance)
	if s.TooLong > 0 {
		f.Note += fmt.Sprintf("; %d more do not fit the model's context", s.TooLong)
	}
	switch {
	case s.Items < fewItems:
		f.Verdict = Unmeasured
		f.Note += fmt.Sprintf("; %d items at least would say something", fewItems)
	case !a.isPagesModel():
		f.Verdict = Unmeasured
		f.Note += fmt.Sprintf("; the page's figure is of another model than %s: --model DIR takes Qwen2.5-1.5B", a.Subject.Name)
		if s.Interval.Holds(s.Chance) {
			f.Note += ", and this one is at chance within its interval"
		}
	case f.Interval.Holds(page.Score):
		f.Verdict = Supported
	default:
		f.Verdict = Refuted
	}
	f.Note += fmt.Sprintf(". To see a difference of one point, two models need %d items each", s.Needed)
	return nil
}
