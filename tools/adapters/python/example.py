#!/usr/bin/env python3
"""Four modules in numpy, written from the specification's sentences and the papers
behind them: the worked example of the guide.

    conform check -- python3 example.py

Attention and sums run in float64; results are published in float32.
"""

from collections import OrderedDict

import numpy as np

from squishspec_adapter import require, serve

MAX_ELEMENTS = 1 << 30  # of all stores of an instance


def require_dimension(name, n):
    require(n >= 1, name, "at least 1", n)


def require_finite(name, array):
    require(np.isfinite(array).all(), name, "finite numbers", "NaN or an infinity")


def require_shape(name, array, *axes):
    """None accepts an axis of any length above 0."""
    fits = array.ndim == len(axes) and all(n > 0 if want is None else n == want for n, want in zip(array.shape, axes))
    require(fits, name, f"shape {axes}", array.shape)


class TernaryQuant:
    """BitNet b1.58 (arXiv 2402.17764), the rounding written as a threshold."""

    offers = ("ternary-quant", "ternary-quant/pack_base3", "ternary-quant/unpack_base3",
              "ternary-quant/pack_2bit", "ternary-quant/unpack_2bit")

    def __init__(self, zero_threshold=0.5):
        require(0 < zero_threshold < np.inf, "zero_threshold", "a finite number above 0", zero_threshold)
        self.zero_threshold = zero_threshold
        self.calls = self.weights = self.zeros = 0

    def quantize(self, weights):
        require(weights.size > 0, "weights", "at least one", 0)
        require_finite("weights", weights)
        magnitudes = np.abs(weights.astype(np.float64))
        scale = magnitudes.mean()
        codes = np.where(magnitudes > self.zero_threshold * scale, np.sign(weights), 0).astype(np.int8)
        self.calls += 1
        self.weights += codes.size
        self.zeros += int((codes == 0).sum())
        return {"ternary": codes, "scale": np.float32(scale)}

    def dequantize(self, ternary, scale):
        self._require_codes(ternary)
        require(np.isfinite(scale), "scale", "a finite number", scale)
        scale = np.float32(scale)
        # Selected, not multiplied: a zero code gives +0 for a negative scale too.
        return {"weights": np.select([ternary == 1, ternary == -1], [scale, -scale], np.float32(0)).astype(np.float32)}

    def stats(self):
        return {"total_quantize_calls": self.calls, "total_weights_quantized": self.weights,
                "total_zeros": self.zeros, "sparsity": self.zeros / max(self.weights, 1)}

    def pack_base3(self, ternary):
        self._require_codes(ternary)
        return {"packed": self._pack(ternary, 3, 5)}

    def unpack_base3(self, packed, n):
        return {"ternary": self._unpack(packed, n, 3, 5)}

    def pack_2bit(self, ternary):
        self._require_codes(ternary)
        return {"packed": self._pack(ternary, 4, 4)}

    def unpack_2bit(self, packed, n):
        return {"ternary": self._unpack(packed, n, 4, 4)}

    @staticmethod
    def _require_codes(ternary):
        require(ternary.size > 0, "ternary", "at least one code", 0)
        require(((ternary >= -1) & (ternary <= 1)).all(), "ternary", "codes -1, 0 and 1", "another one")

    @staticmethod
    def _pack(ternary, base, digits):
        """Codes as digits code+1 of a byte each, the first least significant."""
        padded = np.zeros(-(-ternary.size // digits) * digits, np.int64)
        padded[:ternary.size] = ternary.ravel()
        return ((padded.reshape(-1, digits) + 1) @ base ** np.arange(digits)).astype(np.uint8)

    @classmethod
    def _unpack(cls, packed, n, base, digits):
        require(n >= 1, "n", "at least 1", n)
        require(packed.size == -(-n // digits), "packed", f"{-(-n // digits)} bytes for {n} codes", packed.size)
        codes = (packed.astype(np.int64)[:, None] // base ** np.arange(digits) % base - 1).ravel()
        require((codes[:n] <= 1).all(), "packed", "codes -1, 0 and 1", "another one")
        # Only what packing writes has a meaning: no other filling, and in base 3 no byte above 242.
        require((cls._pack(codes[:n], base, digits) == packed).all(), "packed", "bytes as packing writes them", "others")
        return codes[:n].astype(np.int8)


class HierarchicalKV:
    """One stack, least recently used last, cut in three tiers (Mattson et al. 1970)."""

    offers = ("hierarchical-kv", "hierarchical-kv/put_many")

    def __init__(self, hot_capacity=64, warm_capacity=256, cold_capacity=1024, n_heads=4, head_dim=64):
        require_dimension("hot_capacity", hot_capacity)
        require(warm_capacity > hot_capacity, "warm_capacity", f"more than hot_capacity ({hot_capacity})", warm_capacity)
        require(cold_capacity > warm_capacity, "cold_capacity", f"more than warm_capacity ({warm_capacity})", cold_capacity)
        require_dimension("n_heads", n_heads)
        require_dimension("head_dim", head_dim)
        elements = (hot_capacity + warm_capacity + cold_capacity) * 2 * n_heads * head_dim
        require(elements <= MAX_ELEMENTS, "config", f"stores of at most {MAX_ELEMENTS} elements in all", elements)
        self.capacities = (hot_capacity, warm_capacity, cold_capacity)
        self.shape = (n_heads, head_dim)
        self.tiers = (OrderedDict(), OrderedDict(), OrderedDict())  # position to (key, value), most recent last
        self.hits = [0, 0, 0]
        self.puts = self.misses = self.demotions = self.evictions = 0

    def put(self, pos, key, value):
        require_shape("key", key, *self.shape)
        require_shape("value", value, *self.shape)
        self._put(pos, key, value)

    def put_many(self, positions, keys, values):
        require_shape("positions", positions, None)
        heads, dim = self.shape
        require_shape("keys", keys, heads, positions.size, dim)
        require_shape("values", values, heads, positions.size, dim)
        for t, pos in enumerate(positions.tolist()):
            self._put(pos, keys[:, t], values[:, t])

    def get(self, pos):
        for tier, entries in enumerate(self.tiers):
            if pos in entries:
                self.hits[tier] += 1
                key, value = entries.pop(pos)
                self._promote(pos, key, value)
                return {"kv": [key, value]}
        self.misses += 1
        return {"kv": None}

    def n_hot(self):
        return {"n_hot": len(self.tiers[0])}

    def n_warm(self):
        return {"n_warm": len(self.tiers[1])}

    def n_cold(self):
        return {"n_cold": len(self.tiers[2])}

    def stats(self):
        hot, warm, cold = self.hits
        hits, gets = sum(self.hits), sum(self.hits) + self.misses
        return {"total_puts": self.puts, "total_gets": gets, "hot_hits": hot, "warm_hits": warm, "cold_hits": cold,
                "cold_misses": self.misses, "total_demotions": self.demotions, "total_evictions": self.evictions,
                "hit_rate": hits / max(gets, 1), "hot_hit_rate": hot / max(gets, 1)}

    def _put(self, pos, key, value):
        for entries in self.tiers:
            entries.pop(pos, None)
        self.puts += 1
        self._promote(pos, key.copy(), value.copy())

    def _promote(self, pos, key, value):
        """Puts an entry at hot's most recent end; what overflows goes down."""
        entry = pos, (key, value)
        for tier, (entries, capacity) in enumerate(zip(self.tiers, self.capacities)):
            entries[entry[0]] = entry[1]
            if len(entries) <= capacity:
                return
            entry = entries.popitem(last=False)
            if tier < 2:
                self.demotions += 1
        self.evictions += 1


class CrossDocAttn:
    """Attention over documents with the online softmax (Milakov & Gimelshein 2018).

    A document comes to (largest logit, sum of weights, weighted values), a row
    each; two such are merged by rescaling to the larger logit.
    """

    offers = ("cross-doc-attn",)

    def __init__(self, n_heads=8, head_dim=64, max_docs=16, softmax_scale=None):
        require_dimension("n_heads", n_heads)
        require_dimension("head_dim", head_dim)
        require_dimension("max_docs", max_docs)
        if softmax_scale is None:
            softmax_scale = head_dim ** -0.5
        require(0 < softmax_scale < np.inf, "softmax_scale", "a finite number above 0", softmax_scale)
        self.n_heads, self.head_dim, self.max_docs = n_heads, head_dim, max_docs
        self.softmax_scale = softmax_scale
        self.calls = self.docs = 0

    def forward(self, query, doc_keys, doc_values):
        heads, dim = self.n_heads, self.head_dim
        require_shape("query", query, heads, None, dim)
        require(1 <= len(doc_keys) <= self.max_docs, "doc_keys", f"1 to {self.max_docs} documents", len(doc_keys))
        require(len(doc_values) == len(doc_keys), "doc_values", f"{len(doc_keys)} documents, as many as keys", len(doc_values))
        for keys, values in zip(doc_keys, doc_values):
            require_shape("doc_keys", keys, heads, None, dim)
            require_shape("doc_values", values, heads, keys.shape[1], dim)
        with np.errstate(all="ignore"):  # NaN and infinities spread through the rows that they touch
            query = query.astype(np.float64)
            total = self._attend(query, doc_keys[0], doc_values[0])
            for keys, values in zip(doc_keys[1:], doc_values[1:]):
                total = self._merge(total, self._attend(query, keys, values))
            _, weight, mixed = total
            out = (mixed / weight).astype(np.float32)
        self.calls += 1
        self.docs += len(doc_keys)
        return {"out": out}

    def stats(self):
        return {"total_forward_calls": self.calls, "total_docs_attended": self.docs,
                "avg_docs_per_call": self.docs / max(self.calls, 1)}

    def _attend(self, query, keys, values):
        logits = query @ keys.astype(np.float64).transpose(0, 2, 1) * self.softmax_scale
        largest = logits.max(axis=-1, keepdims=True)
        weights = np.exp(logits - largest)
        return largest, weights.sum(axis=-1, keepdims=True), weights @ values.astype(np.float64)

    @staticmethod
    def _merge(a, b):
        largest = np.maximum(a[0], b[0])
        scale_a, scale_b = np.exp(a[0] - largest), np.exp(b[0] - largest)
        return largest, scale_a * a[1] + scale_b * b[1], scale_a * a[2] + scale_b * b[2]


class EmbeddingGate:
    """Routes by likeness to a gate vector: |cos| documented, |dot| as squish6."""

    offers = ("embedding-gate", "embedding-gate:squish6", "embedding-gate/set_weights")

    def __init__(self, variant="", embed_dim=512, threshold=0.5, n_routes=2):
        require(variant in ("", "squish6"), "variant", '"" or "squish6"', repr(variant))
        self.variant = variant
        require_dimension("embed_dim", embed_dim)
        require(embed_dim <= MAX_ELEMENTS, "embed_dim", f"at most {MAX_ELEMENTS}", embed_dim)
        self.update_threshold(threshold)
        require(n_routes == 2, "n_routes", "2", n_routes)
        self.embed_dim = embed_dim
        self.weights = None  # until they are set all are 1/embed_dim
        self.calls = self.text = self.vision = 0

    def update_threshold(self, new_threshold):
        most = np.inf if self.variant == "squish6" else 1
        in_range = 0 < new_threshold <= most and np.isfinite(new_threshold)
        require(in_range, "threshold", f"a finite number above 0, at most {most}", new_threshold)
        self.threshold = new_threshold

    def set_weights(self, weights):
        require_shape("weights", weights, self.embed_dim)
        require_finite("weights", weights)
        self.weights = weights.astype(np.float64)

    def gate(self, embeddings):
        require_shape("embeddings", embeddings, None, self.embed_dim)
        require_finite("embeddings", embeddings)
        route = (self._scores(embeddings.astype(np.float64)) >= self.threshold).astype(np.int32)
        self.calls += 1
        self.vision += int(route.sum())
        self.text += int((1 - route).sum())
        return {"route": route, "masked": np.where(route[:, None] == 1, embeddings, np.float32(0))}

    def stats(self):
        return {"total_gate_calls": self.calls, "total_text_routed": self.text, "total_vision_routed": self.vision,
                "vision_fraction": self.vision / max(self.vision + self.text, 1)}

    def _scores(self, x):
        w = np.full(self.embed_dim, 1 / self.embed_dim) if self.weights is None else self.weights
        dots = np.abs(x @ w)
        if self.variant == "squish6":
            return dots
        norms = np.sqrt((x * x).sum(axis=1)) * np.sqrt((w * w).sum())
        return np.divide(dots, norms, out=np.zeros(len(x)), where=norms > 0)


if __name__ == "__main__":
    serve("numpy example", "0.1", [TernaryQuant, HierarchicalKV, CrossDocAttn, EmbeddingGate])
