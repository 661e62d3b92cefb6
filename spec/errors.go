package spec

import (
	"errors"
	"fmt"
)

// An ErrorKind says why a call was refused. It is itself an error, the one that
// errors.Is finds: errors.Is(err, spec.Invalid).
type ErrorKind string

const (
	// Invalid: a config or an argument is out of range, of the wrong shape,
	// negative, empty, or non-finite where that is forbidden.
	Invalid ErrorKind = "invalid"
	// Capacity: the store is full.
	Capacity ErrorKind = "capacity"
	// State: the call is out of order.
	State ErrorKind = "state"
	// Range: an index is outside.
	Range ErrorKind = "range"
	// Unknown: there is no such modality (modality-router only).
	Unknown ErrorKind = "unknown"
	// Unsupported: the implementation does not offer this.
	Unsupported ErrorKind = "unsupported"
)

// ErrorKinds lists every kind.
var ErrorKinds = []ErrorKind{Invalid, Capacity, State, Range, Unknown, Unsupported}

func (k ErrorKind) Error() string { return string(k) }

// KindOf returns the kind of err, or "" where it has none.
func KindOf(err error) ErrorKind {
	var kind ErrorKind
	errors.As(err, &kind)
	return kind
}

// A Rejection is the error of a refused call.
type Rejection struct {
	Kind    ErrorKind
	Message string
}

func (r *Rejection) Error() string { return r.Message }

// Unwrap makes errors.Is(err, spec.Invalid) true of an invalid one.
func (r *Rejection) Unwrap() error { return r.Kind }

// Reject returns an error that names the module, the field or argument, what was
// wanted, and what came.
func Reject(kind ErrorKind, module, name, want string, got any) error {
	if s, ok := got.(string); ok && s == "" {
		got = `""`
	}
	return &Rejection{Kind: kind, Message: fmt.Sprintf("%s: %s: want %s, got %v", module, name, want, got)}
}

// firstError returns the first error of a config's fields, in field order.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// atLeast rejects an integer field below a minimum.
func atLeast(module, name string, got, minimum int) error {
	if got < minimum {
		return Reject(Invalid, module, name, fmt.Sprintf("at least %d", minimum), got)
	}
	return nil
}

// inRange rejects a field for which ok is false: a NaN makes every comparison
// false, so callers pass the condition that must hold.
func inRange(module, name, want string, got float64, ok bool) error {
	if !ok {
		return Reject(Invalid, module, name, want, got)
	}
	return nil
}

// maxElements is the largest number of elements that a module's stores may have
// in all: a larger config is refused before anything is allocated.
const maxElements = 1 << 30

// storesFit rejects a config whose stores, of so many slots of so many elements,
// would exceed maxElements.
func storesFit(module string, dims ...int) error {
	if n, ok := Volume(dims...); !ok || n > maxElements {
		return Reject(Invalid, module, "config", fmt.Sprintf("stores of at most %d elements in all", maxElements),
			fmt.Sprintf("a product of %v", dims))
	}
	return nil
}

// above rejects an integer field that is not above another one.
func above(module, name string, got int, other string, bound int) error {
	if got <= bound {
		return Reject(Invalid, module, name, fmt.Sprintf("more than %s (%d)", other, bound), got)
	}
	return nil
}

// checkVariant rejects a variant that the module does not have.
func checkVariant(module string, got Variant, known ...Variant) error {
	if got == Documented {
		return nil
	}
	for _, v := range known {
		if got == v {
			return nil
		}
	}
	return Reject(Invalid, module, "variant", fmt.Sprintf("\"\" or one of %q", known), fmt.Sprintf("%q", string(got)))
}

// DropCount returns how many of n items a ratio in [0, 1) drops: ⌊ratio·n·(1+2⁻⁵⁰)⌋,
// so that 0.29 of 100 is 29 although 0.29·100 rounds below it. At least one item
// stays.
func DropCount(ratio float64, n int) int {
	product := float64(ratio * float64(n))
	return min(int(float64(product*(1+0x1p-50))), max(n-1, 0))
}
