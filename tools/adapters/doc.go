// Package adapters tests the adapters of other languages that lie beside it: their
// libraries frame by frame, their examples under the suite, and the guide by doing
// what it says.
//
// A language that the machine lacks is skipped, or fails with
// SQUISHSPEC_LANGUAGES=required, which CI sets. SQUISHSPEC_PYTHON names a Python
// with numpy where python3 is not one.
package adapters
