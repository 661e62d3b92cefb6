package audit

import "slices"

// Methods returns every method that is judged.
func Methods() []Method {
	return slices.Concat(ternaryMethods(), structuredMethods(), iterativeMethods(), zeroQuantMethods(), gptqMethods(), awqMethods(),
		calibrationMethods(), fusionMethods(), sharingMethods(), surgeryMethods(), deltaMethods(), binaryMethods())
}
