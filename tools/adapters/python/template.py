#!/usr/bin/env python3
"""An adapter to fill in: copy this file, and run

    conform check -- python3 my_adapter.py

Keep a class for each module that you implement, or add one: names of operations,
arguments, results and config fields are those of spec/<module>.go, or of
`conform list`. README.md, one folder up, goes through it step by step.
"""

import numpy as np

from squishspec_adapter import Refused, require, serve


class TernaryQuant:
    # "module": its documented behaviour, with all core operations.
    # "module:variant": a variant of it. "module/operation": an optional operation.
    offers = ("ternary-quant",)

    def __init__(self, zero_threshold=0.5):
        # A config that must be refused raises here.
        require(0 < zero_threshold < np.inf, "zero_threshold", "a finite number above 0", zero_threshold)
        self.zero_threshold = zero_threshold

    def quantize(self, weights):
        # weights is a numpy array of any shape. Call your library here, and return
        # what it answers by name: arrays for tensors, numbers for numbers.
        raise Refused("unsupported", "quantize is not written yet")
        # return {"ternary": codes.astype(np.int8), "scale": scale}

    def dequantize(self, ternary, scale):
        raise Refused("unsupported", "dequantize is not written yet")
        # return {"weights": weights.astype(np.float32)}

    def stats(self):
        raise Refused("unsupported", "stats is not written yet")
        # return {"total_quantize_calls": 0, "total_weights_quantized": 0, "total_zeros": 0, "sparsity": 0.0}


if __name__ == "__main__":
    serve("mylib", "0.1.0", [TernaryQuant])
