package conformance

import (
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// A module is what the suite knows of a module of the specification.
type module struct {
	spec *spec.Module
	// laws are the checks of the module's own requirements, by the slug of their
	// id. Cross-cutting requirements have theirs in crosscutting.go.
	laws map[string]func(*trial)
	// program draws a config of a variant and calls that must be accepted.
	program func(*trial, spec.Variant) program
	// badConfigs are configs that must be refused, by what is wrong with them.
	badConfigs map[string]any
	// badSteps draws calls that an instance of that config must refuse.
	badSteps func(t *trial, config any) []badStep
	// equal compares an operation's results under the requirement's tolerance, by
	// the operation's name. Operations without an entry are compared exactly, with
	// floats in float64 within 2⁻⁵⁰.
	equal map[string]comparison
	// deviations are cases of the recording of Squish 6.0.0 that are plainly wrong,
	// with the reason.
	deviations map[string]string
	// deviatesIn is what their failures must name, so that a case is held to the rest
	// of it; empty for anything.
	deviatesIn string
	// rows run the page's rows of the module.
	rows []row
}

// A comparison fails the trial where an operation's result is not what it should
// be. got and want point to results.
type comparison func(t *trial, config any, args []any, got, want any)

// modules is every module of the suite, in the order of spec.Modules.
func modules() []*module {
	return []*module{
		visionKVFuseModule,
		imageTokenPruneModule,
		ragPrefetchModule,
		cotCompressModule,
		multiModalBatchModule,
		contextualRerankModule,
		crossModalAttnModule,
		hierarchicalKVModule,
		streamRAGModule,
		crossDocAttnModule,
		videoFramePruneModule,
		embeddingGateModule,
		longContextChunkModule,
		modalityRouterModule,
		ternaryQuantModule,
		binaryAttnModule,
		structuredPruneModule,
		layerFusionModule,
		weightSharingModule,
		quantCalibModule,
		sparseWeightModule,
		deltaCompressModule,
		modelSurgeryModule,
		zeroQuantV2Module,
		gptqLayerModule,
		sparseMoEModule,
		awqV2Module,
		iterPruneModule,
	}
}

// moduleOf returns the suite's side of m.
func moduleOf(m *spec.Module) *module {
	for _, own := range modules() {
		if own.spec == m {
			return own
		}
	}
	return nil
}

// check returns the check of a requirement, nil where there is none.
func (m *module) check(r *spec.Requirement) func(*trial) {
	slug := strings.TrimPrefix(r.ID, m.spec.Name+"/")
	if law := m.laws[slug]; law != nil {
		return law
	}
	return crossCutting(m, r, slug)
}
