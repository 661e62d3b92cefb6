#!/usr/bin/env node
// Four modules in plain JavaScript, written from the specification's sentences and
// the papers behind them: the worked example of the guide.
//
//   conform check -- node example.js
//
// JavaScript's numbers are float64; results are published in float32.
"use strict";

const { need, tensor, serve } = require("./squishspec_adapter.js");

const MAX_ELEMENTS = 2 ** 30; // of all stores of an instance

function needDimension(name, n) {
  need(n >= 1, name, "at least 1", n);
}

function needFinite(name, numbers) {
  need(numbers.every(Number.isFinite), name, "finite numbers", "NaN or an infinity");
}

// needShape wants one length an axis; null accepts any above 0.
function needShape(name, { shape }, ...axes) {
  const fits = shape.length === axes.length && axes.every((want, i) => (want === null ? shape[i] > 0 : shape[i] === want));
  need(fits, name, `shape (${axes.map((want) => want ?? "any")})`, `(${shape})`);
}

// BitNet b1.58 (arXiv 2402.17764), the rounding written as a threshold.
class TernaryQuant {
  static offers = [
    "ternary-quant", "ternary-quant/pack_base3", "ternary-quant/unpack_base3",
    "ternary-quant/pack_2bit", "ternary-quant/unpack_2bit",
  ];
  #threshold;
  #calls = 0;
  #weights = 0;
  #zeros = 0;

  constructor({ zero_threshold = 0.5 }) {
    need(zero_threshold > 0 && zero_threshold < Infinity, "zero_threshold", "a finite number above 0", zero_threshold);
    this.#threshold = zero_threshold;
  }

  quantize({ weights: { shape, data } }) {
    need(data.length > 0, "weights", "at least one", 0);
    needFinite("weights", data);
    const scale = data.reduce((sum, w) => sum + Math.abs(w), 0) / data.length;
    const bound = this.#threshold * scale;
    const codes = Int8Array.from(data, (w) => (Math.abs(w) > bound ? Math.sign(w) : 0));
    this.#calls++;
    this.#weights += codes.length;
    this.#zeros += codes.reduce((zeros, code) => zeros + (code === 0), 0);
    return { ternary: tensor(codes, shape), scale: Math.fround(scale) };
  }

  dequantize({ ternary: { shape, data }, scale }) {
    this.#needCodes(data);
    need(Number.isFinite(scale), "scale", "a finite number", scale);
    // Selected, not multiplied: a zero code gives +0 for a negative scale too.
    return { weights: tensor(Float32Array.from(data, (code) => (code ? code * scale : 0)), shape) };
  }

  stats() {
    return {
      total_quantize_calls: this.#calls, total_weights_quantized: this.#weights, total_zeros: this.#zeros,
      sparsity: this.#zeros / Math.max(this.#weights, 1),
    };
  }

  pack_base3({ ternary: { data } }) {
    this.#needCodes(data);
    return { packed: tensor(pack(data, 3, 5)) };
  }

  unpack_base3({ packed, n }) {
    return { ternary: tensor(unpack(packed.data, n, 3, 5)) };
  }

  pack_2bit({ ternary: { data } }) {
    this.#needCodes(data);
    return { packed: tensor(pack(data, 4, 4)) };
  }

  unpack_2bit({ packed, n }) {
    return { ternary: tensor(unpack(packed.data, n, 4, 4)) };
  }

  #needCodes(codes) {
    need(codes.length > 0, "ternary", "at least one code", 0);
    need(codes.every((code) => code >= -1 && code <= 1), "ternary", "codes -1, 0 and 1", "another one");
  }
}

// pack writes codes as digits code+1 of a byte each, the first least significant.
function pack(codes, base, digits) {
  return Uint8Array.from({ length: Math.ceil(codes.length / digits) }, (_, b) => {
    let byte = 0;
    for (let i = digits - 1; i >= 0; i--) byte = byte * base + (codes[b * digits + i] ?? 0) + 1;
    return byte;
  });
}

function unpack(packed, n, base, digits) {
  need(n >= 1, "n", "at least 1", n);
  const bytes = Math.ceil(n / digits);
  need(packed.length === bytes, "packed", `${bytes} bytes for ${n} codes`, packed.length);
  const codes = Int8Array.from({ length: n }, (_, i) => (Math.floor(packed[Math.floor(i / digits)] / base ** (i % digits)) % base) - 1);
  need(codes.every((code) => code <= 1), "packed", "codes -1, 0 and 1", "another one");
  // Only what packing writes has a meaning: no other filling, and in base 3 no byte above 242.
  need(pack(codes, base, digits).every((byte, b) => byte === packed[b]), "packed", "bytes as packing writes them", "others");
  return codes;
}

// One stack, least recently used first, cut in three tiers (Mattson et al. 1970).
// A Map keeps the order in which its keys were set.
class HierarchicalKV {
  static offers = ["hierarchical-kv", "hierarchical-kv/put_many"];
  static whole = ["pos"]; // any integer, beyond those of doubles too
  #capacities;
  #heads;
  #dim;
  #tiers = [new Map(), new Map(), new Map()]; // position to key and value
  #hits = [0, 0, 0];
  #puts = 0;
  #misses = 0;
  #demotions = 0;
  #evictions = 0;

  constructor({ hot_capacity = 64, warm_capacity = 256, cold_capacity = 1024, n_heads = 4, head_dim = 64 }) {
    needDimension("hot_capacity", hot_capacity);
    need(warm_capacity > hot_capacity, "warm_capacity", `more than hot_capacity (${hot_capacity})`, warm_capacity);
    need(cold_capacity > warm_capacity, "cold_capacity", `more than warm_capacity (${warm_capacity})`, cold_capacity);
    needDimension("n_heads", n_heads);
    needDimension("head_dim", head_dim);
    const capacities = [hot_capacity, warm_capacity, cold_capacity];
    const elements = capacities.reduce((a, b) => a + b) * 2 * n_heads * head_dim;
    need(elements <= MAX_ELEMENTS, "config", `stores of at most ${MAX_ELEMENTS} elements in all`, elements);
    [this.#capacities, this.#heads, this.#dim] = [capacities, n_heads, head_dim];
  }

  put({ pos, key, value }) {
    needShape("key", key, this.#heads, this.#dim);
    needShape("value", value, this.#heads, this.#dim);
    this.#put(pos, key.data.slice(), value.data.slice());
  }

  put_many({ positions, keys, values }) {
    needShape("positions", positions, null);
    needShape("keys", keys, this.#heads, positions.data.length, this.#dim);
    needShape("values", values, this.#heads, positions.data.length, this.#dim);
    positions.data.forEach((pos, t) => this.#put(pos, this.#token(keys, t), this.#token(values, t)));
  }

  get({ pos }) {
    const tier = this.#tiers.findIndex((entries) => entries.has(pos));
    if (tier < 0) {
      this.#misses++;
      return { kv: null };
    }
    this.#hits[tier]++;
    const entry = this.#tiers[tier].get(pos);
    this.#tiers[tier].delete(pos);
    this.#promote(pos, entry);
    const shape = [this.#heads, this.#dim];
    return { kv: [tensor(entry.key.slice(), shape), tensor(entry.value.slice(), shape)] };
  }

  n_hot() {
    return { n_hot: this.#tiers[0].size };
  }

  n_warm() {
    return { n_warm: this.#tiers[1].size };
  }

  n_cold() {
    return { n_cold: this.#tiers[2].size };
  }

  stats() {
    const [hot, warm, cold] = this.#hits;
    const gets = hot + warm + cold + this.#misses;
    return {
      total_puts: this.#puts, total_gets: gets, hot_hits: hot, warm_hits: warm, cold_hits: cold, cold_misses: this.#misses,
      total_demotions: this.#demotions, total_evictions: this.#evictions,
      hit_rate: (hot + warm + cold) / Math.max(gets, 1), hot_hit_rate: hot / Math.max(gets, 1),
    };
  }

  // #token copies token t of a (heads, tokens, dim) tensor.
  #token({ shape: [heads, tokens, dim], data }, t) {
    const out = new Float32Array(heads * dim);
    for (let h = 0; h < heads; h++) {
      const begin = (h * tokens + t) * dim;
      out.set(data.subarray(begin, begin + dim), h * dim);
    }
    return out;
  }

  #put(pos, key, value) {
    for (const entries of this.#tiers) entries.delete(pos);
    this.#puts++;
    this.#promote(pos, { key, value });
  }

  // #promote puts an entry at hot's most recent end; what overflows goes down.
  #promote(pos, entry) {
    for (const [tier, entries] of this.#tiers.entries()) {
      entries.set(pos, entry);
      if (entries.size <= this.#capacities[tier]) return;
      [pos, entry] = entries.entries().next().value;
      entries.delete(pos);
      if (tier < 2) this.#demotions++;
    }
    this.#evictions++;
  }
}

// Attention over documents with the online softmax (Milakov & Gimelshein 2018): a
// row carries its largest logit so far, the sum of weights and the weighted values,
// and is rescaled when a larger logit comes.
class CrossDocAttn {
  static offers = ["cross-doc-attn"];
  #heads;
  #dim;
  #maxDocs;
  #scale;
  #calls = 0;
  #docs = 0;

  constructor({ n_heads = 8, head_dim = 64, max_docs = 16, softmax_scale = 1 / Math.sqrt(head_dim) }) {
    needDimension("n_heads", n_heads);
    needDimension("head_dim", head_dim);
    needDimension("max_docs", max_docs);
    need(softmax_scale > 0 && softmax_scale < Infinity, "softmax_scale", "a finite number above 0", softmax_scale);
    [this.#heads, this.#dim, this.#maxDocs, this.#scale] = [n_heads, head_dim, max_docs, softmax_scale];
  }

  forward({ query, doc_keys, doc_values }) {
    const heads = this.#heads, dim = this.#dim;
    needShape("query", query, heads, null, dim);
    need(doc_keys.length >= 1 && doc_keys.length <= this.#maxDocs, "doc_keys", `1 to ${this.#maxDocs} documents`, doc_keys.length);
    need(doc_values.length === doc_keys.length, "doc_values", `${doc_keys.length} documents, as many as keys`, doc_values.length);
    doc_keys.forEach((keys, i) => {
      needShape("doc_keys", keys, heads, null, dim);
      needShape("doc_values", doc_values[i], heads, keys.shape[1], dim);
    });
    const out = new Float32Array(query.data.length);
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < query.shape[1]; t++) {
        const row = { largest: -Infinity, weight: 0, mixed: new Float64Array(dim) };
        doc_keys.forEach((keys, i) => this.#attend(row, rowOf(query, h, t), keys, doc_values[i], h));
        out.set(row.mixed.map((x) => x / row.weight), (h * query.shape[1] + t) * dim);
      }
    }
    this.#calls++;
    this.#docs += doc_keys.length;
    return { out: tensor(out, query.shape) };
  }

  stats() {
    return {
      total_forward_calls: this.#calls, total_docs_attended: this.#docs,
      avg_docs_per_call: this.#docs / Math.max(this.#calls, 1),
    };
  }

  #attend(row, query, keys, values, h) {
    for (let j = 0; j < keys.shape[1]; j++) {
      const logit = dot(query, rowOf(keys, h, j)) * this.#scale;
      const larger = Math.max(row.largest, logit); // NaN where either is: it spreads
      const keep = Math.exp(row.largest - larger);
      const weight = Math.exp(logit - larger);
      const value = rowOf(values, h, j);
      row.largest = larger;
      row.weight = keep * row.weight + weight;
      for (let i = 0; i < value.length; i++) row.mixed[i] = keep * row.mixed[i] + weight * value[i];
    }
  }
}

// rowOf returns row t of head h of a (heads, tokens, dim) tensor.
function rowOf({ shape: [, tokens, dim], data }, h, t) {
  const begin = (h * tokens + t) * dim;
  return data.subarray(begin, begin + dim);
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// Routes by likeness to a gate vector: |cos| documented, |dot| as squish6.
class EmbeddingGate {
  static offers = ["embedding-gate", "embedding-gate:squish6", "embedding-gate/set_weights"];
  #variant;
  #dim;
  #threshold;
  #weights = null; // until they are set all are 1/dim
  #calls = 0;
  #text = 0;
  #vision = 0;

  constructor({ variant = "", embed_dim = 512, threshold = 0.5, n_routes = 2 }) {
    need(variant === "" || variant === "squish6", "variant", '"" or "squish6"', JSON.stringify(variant));
    this.#variant = variant;
    needDimension("embed_dim", embed_dim);
    need(embed_dim <= MAX_ELEMENTS, "embed_dim", `at most ${MAX_ELEMENTS}`, embed_dim);
    this.update_threshold({ new_threshold: threshold });
    need(n_routes === 2, "n_routes", "2", n_routes);
    this.#dim = embed_dim;
  }

  update_threshold({ new_threshold }) {
    const most = this.#variant === "squish6" ? Infinity : 1;
    const inRange = new_threshold > 0 && new_threshold <= most && new_threshold < Infinity;
    need(inRange, "threshold", `a finite number above 0, at most ${most}`, new_threshold);
    this.#threshold = new_threshold;
  }

  set_weights({ weights }) {
    needShape("weights", weights, this.#dim);
    needFinite("weights", weights.data);
    this.#weights = Float64Array.from(weights.data);
  }

  gate({ embeddings }) {
    const dim = this.#dim;
    needShape("embeddings", embeddings, null, dim);
    needFinite("embeddings", embeddings.data);
    const weights = this.#weights ?? new Float64Array(dim).fill(1 / dim);
    const rows = embeddings.shape[0];
    const route = new Int32Array(rows);
    const masked = new Float32Array(rows * dim);
    for (let r = 0; r < rows; r++) {
      const row = embeddings.data.subarray(r * dim, (r + 1) * dim);
      if (this.#score(row, weights) >= this.#threshold) {
        route[r] = 1;
        masked.set(row, r * dim); // selected, never multiplied
      }
    }
    const vision = route.reduce((a, b) => a + b, 0);
    this.#calls++;
    this.#vision += vision;
    this.#text += rows - vision;
    return { route: tensor(route), masked: tensor(masked, [rows, dim]) };
  }

  stats() {
    return {
      total_gate_calls: this.#calls, total_text_routed: this.#text, total_vision_routed: this.#vision,
      vision_fraction: this.#vision / Math.max(this.#vision + this.#text, 1),
    };
  }

  #score(x, w) {
    const likeness = Math.abs(dot(x, w));
    if (this.#variant === "squish6") return likeness;
    const norms = Math.sqrt(dot(x, x)) * Math.sqrt(dot(w, w));
    return norms > 0 ? likeness / norms : 0;
  }
}

serve("JavaScript example", "0.1", [TernaryQuant, HierarchicalKV, CrossDocAttn, EmbeddingGate]);
