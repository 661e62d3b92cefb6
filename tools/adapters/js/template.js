#!/usr/bin/env node
// An adapter to fill in: copy this file, and run
//
//   conform check -- node my_adapter.js
//
// Keep a class for each module that you implement, or add one: names of operations,
// arguments, results and config fields are those of spec/<module>.go. README.md, one
// folder up, goes through it step by step.
"use strict";

const { Refused, need, serve } = require("./squishspec_adapter.js");

class TernaryQuant {
  // "module": its documented behaviour, with all core operations.
  // "module:variant": a variant of it. "module/operation": an optional operation.
  static offers = ["ternary-quant"];

  constructor({ zero_threshold = 0.5 }) {
    // A config that must be refused throws here.
    need(zero_threshold > 0 && zero_threshold < Infinity, "zero_threshold", "a finite number above 0", zero_threshold);
    this.zeroThreshold = zero_threshold;
  }

  quantize({ weights }) {
    // weights is { dtype, shape, data }, data a Float32Array. Call your library here,
    // and return what it answers by name: tensors for tensors, numbers for numbers.
    throw new Refused("unsupported", "quantize is not written yet");
    // return { ternary: tensor(Int8Array.from(codes), weights.shape), scale };
  }

  dequantize({ ternary, scale }) {
    throw new Refused("unsupported", "dequantize is not written yet");
    // return { weights: tensor(Float32Array.from(weights), ternary.shape) };
  }

  stats() {
    throw new Refused("unsupported", "stats is not written yet");
    // return { total_quantize_calls: 0, total_weights_quantized: 0, total_zeros: 0, sparsity: 0 };
  }
}

serve("mylib", "0.1.0", [TernaryQuant]);
