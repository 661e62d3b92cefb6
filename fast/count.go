package fast

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// CountOperations runs f, and counts the multiply-adds of the matrix products and the
// exponentials of the softmax that cross-modal-attn and cross-doc-attn take meanwhile,
// one by one in the loops that do them. Only a build with the tag counted counts:
// without it f runs all the same, and counted is false. The kernels are then in plain
// Go, whatever SIMDVariable says, and nothing else may compute meanwhile.
func CountOperations(f func() error) (done spec.AttentionOperations, counted bool, err error) {
	mulAdds, exps, counted := kern.Counted()
	if counted {
		defer kern.Force(kern.Go)()
	}
	err = f()
	done.MulAdds, done.Exps, _ = kern.Counted()
	done.MulAdds -= mulAdds
	done.Exps -= exps
	return done, counted, err
}
