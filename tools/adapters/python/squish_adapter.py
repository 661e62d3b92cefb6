#!/usr/bin/env python3
"""The adapter for the Python package squish, version 6.0.0.

    conform check -- python3 squish_adapter.py
    conform check -- python3 squish_adapter.py ternary-quant sparse-moe

It offers the variant squish6 where a module has one, and else the module. A field
or an argument that the package does not have is left out where it says nothing
(0, false, empty) or does not concern the variant, and is unsupported otherwise. A
result that the package does not have is empty.
"""

import dataclasses
import functools
import importlib
import inspect
import sys

import numpy as np

from squishspec_adapter import Refused, serve

ANY = object()  # a value that does not matter

# Results, and arguments, of nothing.
NUMBERS, MATRIX, CODES = np.zeros(0, np.float32), np.zeros((0, 0), np.float32), np.zeros(0, np.uint8)

# KeyError and the others have subclasses that are no refusals.
KINDS = {
    ValueError: "invalid", OverflowError: "capacity", KeyError: "unknown", IndexError: "range", RuntimeError: "state",
    NotImplementedError: None, RecursionError: None, UnicodeError: None,
}


class Module:
    """How a module of the specification is called in the package.

    operations: wire name to the results' names: a string for one, a tuple for
    several, None for none; or to a function that binds the call, where values need
    another form (see bound).
    renamed: wire names of arguments to the package's.
    unknown: fields and arguments that the package does not have, with the value
    at which that makes no difference.
    empty: results that the package does not have, by operation.
    new: a function that makes the package's instance, where values need another
    form.
    """

    def __init__(self, name, file, cls, config, operations, renamed=(), unknown=(), empty=(), new=None):
        self.name, self.file, self.cls, self.config, self.operations = name, file, cls, config, operations
        self.renamed, self.unknown, self.empty = dict(renamed), dict(unknown), dict(empty)
        self.new = new or construct

    def load(self):
        """Returns the class that serve() wants, or raises ImportError."""
        package = importlib.import_module(f"squish.{self.file}")
        missing = [name for name in (self.cls, self.config) if not hasattr(package, name)]
        if missing:
            raise ImportError(f"squish.{self.file} has no {' and no '.join(missing)}")

        def init(instance, **config):
            config.pop("variant", None)
            instance.module, instance.package = self, package
            instance.own = self.new(self, package, config)

        methods = {name: bound(results if callable(results) else operation(self, name, results))
                   for name, results in self.operations.items()}
        return type(self.cls, (), {"offers": (self.name,), "__init__": init, "stats": stats, **methods})

    def arguments(self, known, args):
        """Args in the package's words."""
        kept = {}
        for name, value in args.items():
            name = self.renamed.get(name, name)
            if name in known:
                kept[name] = value
            elif not (says_nothing(value) or self.unknown.get(name) is ANY or self.unknown.get(name) == value):
                raise Refused("unsupported", f"{name}: squish.{self.file} does not have it, got {value}")
        return kept


def says_nothing(value):
    return value.size == 0 if isinstance(value, np.ndarray) else value in (0, False, [])


def construct(module, package, config):
    config_class = getattr(package, module.config)
    known = {f.name for f in dataclasses.fields(config_class)}
    return getattr(package, module.cls)(config_class(**module.arguments(known, config)))


def bound(bind):
    """A method, from a function that binds a call: it returns what is the package's
    own part, to be called without arguments, and how to put what comes into the wire's
    words. Only the package's part is timed."""

    @functools.wraps(bind)
    def method(instance, **args):
        work, results = bind(instance, **args)
        return results(work())

    method.timed = lambda instance, **args: bind(instance, **args)[0]
    return method


def operation(module, name, results):
    """Binds the package's method, or reads its property or that of its stats."""
    empty = module.empty.get(name, {})

    def named(found):
        if results is None:
            return {}
        if isinstance(results, tuple):
            return {**dict(zip(results, map(plain, found), strict=True)), **empty}
        return {results: plain(found), **empty}

    def bind(instance, **args):
        own = instance.own
        found = getattr(own, name) if hasattr(own, name) else getattr(own.stats, name)
        if not callable(found):
            return lambda: found, named
        parameters = inspect.signature(found).parameters.values()
        args = module.arguments({p.name for p in parameters}, args)
        missing = [p.name for p in parameters if p.default is p.empty and p.name not in args]
        if missing:
            raise Refused("unsupported", f"{missing[0]}: squish.{module.file} cannot do without it")
        return functools.partial(found, **args), named

    return bind


def stats(instance):
    """The public fields and properties of the package's stats."""
    own = instance.own.stats
    public = {name: getattr(own, name) for name in dir(own) if not name.startswith("_")}
    counts = {name: plain(value) for name, value in public.items() if not callable(value)}
    return {**counts, **instance.module.empty.get("stats", {})}


def plain(value):
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


# --- modules whose values need another form ----------------------------------

def nothing(_):
    return {}

def new_router(module, package, config):
    return package.ModalityRouter([package.ModalityPolicy(**policy) for policy in config["policies"]])


def register(instance, policy):
    policy = instance.package.ModalityPolicy(**policy)
    return functools.partial(instance.own.register, policy.modality, policy), nothing


def new_shared_weights(module, package, config):
    """The package draws its weights: those of the config take their place."""
    base, u, v = config.pop("base", None), config.pop("u", None), config.pop("v", None)
    own = construct(module, package, config)
    if base is None or base.size == 0:
        base = np.zeros_like(own.base_weight)
    own.base_weight = base
    own._deltas = list(zip(u, v)) if u else [(np.zeros_like(u), np.zeros_like(v)) for u, v in own._deltas]
    return own


def new_mixture(module, package, config):
    gate_weights = config.pop("gate_weights", None)
    own = construct(module, package, config)
    if gate_weights is not None and gate_weights.size:
        own.gate_weights = gate_weights
    return own


def surgery_plan(instance, plan):
    """JSON's keys are strings."""
    heads = {int(layer): heads for layer, heads in plan["heads_to_prune"].items()}
    plan = {**plan, "heads_to_prune": heads}
    if plan.pop("n_kv_heads", None) not in (None, 0, plan["n_heads"]):
        raise Refused("unsupported", "n_kv_heads: squish.model_surgery does not have it")
    return instance.package.SurgeryPlan(**plan)


def estimate_reduction(instance, plan):
    return functools.partial(instance.own.estimate_reduction, surgery_plan(instance, plan)), lambda found: {"reduction": found}


def apply(instance, plan, weight_dict, renumber=False):
    if renumber:
        raise Refused("unsupported", "renumber: squish.model_surgery does not have it")
    work = functools.partial(instance.own.apply, surgery_plan(instance, plan), weight_dict)
    return work, lambda found: {"result": plain(found)}


def reset(instance, modality=""):
    return functools.partial(instance.own.reset, None if modality in ("", "both") else modality), nothing


def inject(instance, doc_id, embedding, token_ids=np.zeros(0, np.int64)):
    return functools.partial(instance.own.inject, doc_id, token_ids, embedding), nothing


def retrieve(instance, query_embedding, top_k=0):
    """No number of documents is 0 on the wire, and None in the package."""
    return functools.partial(instance.own.retrieve, query_embedding, top_k or None), lambda found: {"docs": plain(found)}


def quant_calibrate(instance, activations):
    """A single scale is a list of one."""

    def results(found):
        found = plain(found)
        return {"result": {**found, "scales": np.atleast_1d(found["scales"])}}

    return functools.partial(instance.own.calibrate, activations), results


def awq_calibrate(instance, weights, activations=None, act_scales=None):
    """The package takes what the specification takes the mean of."""
    if activations is not None:
        act_scales = np.abs(np.atleast_2d(activations).astype(np.float64)).mean(axis=0).astype(np.float32)
    work = functools.partial(instance.own.calibrate, weights, act_scales)
    return work, lambda found: dict(zip(("scales", "shifts"), found, strict=True))


def dequantize(instance, quantized, scales, residual, lorc_u=MATRIX, lorc_v=MATRIX):
    """Codes may come flat."""
    if lorc_u.size or lorc_v.size:
        raise Refused("unsupported", "lorc_u: squish.zero_quant_v2 does not have it")
    if quantized.size == residual.size:
        quantized = quantized.reshape(residual.shape)
    return functools.partial(instance.own.dequantize, quantized, scales, residual), lambda found: {"weights": found}


MODULES = [
    Module("vision-kv-fuse", "vision_kv_fuse", "VisionKVFuseCache", "ModalityConfig",
           {"append": None, "get_kv": ("keys", "values"), "reset": reset,
            "text_len": "text_len", "vision_len": "vision_len", "memory_ratio": "memory_ratio"}),
    Module("image-token-prune:squish6", "image_token_prune", "ImageTokenPruner", "PruneConfig",
           {"prune": ("kept", "pruned")}),
    Module("rag-prefetch", "rag_prefetch", "RAGPrefetcher", "RAGConfig",
           {"record_access": "digest", "get_warmup_candidates": "candidates", "n_tracked": "n_tracked"}),
    Module("cot-compress:squish6", "cot_compress", "CoTCompressor", "CoTConfig", {"compress": "kept"},
           unknown={"query_ids": ANY, "separators": ANY, "step_tokens": ANY, "alpha": ANY}),
    Module("multimodal-batch", "multimodal_batch", "MultiModalBatcher", "BatchConfig",
           {"add_request": None, "next_batch": "batch", "pending_text": "pending_text", "pending_vision": "pending_vision"}),
    Module("contextual-rerank", "contextual_rerank", "ContextualReranker", "RerankConfig", {"rerank": "top"}),
    Module("cross-modal-attn", "cross_modal_attn", "CrossModalAttention", "CrossModalConfig", {"forward": "out"}),
    Module("hierarchical-kv", "hierarchical_kv", "HierarchicalKVStore", "TierConfig",
           {"put": None, "get": "kv", "n_hot": "n_hot", "n_warm": "n_warm", "n_cold": "n_cold"}),
    Module("stream-rag:squish6", "stream_rag", "StreamRAGInjector", "StreamRAGConfig",
           {"inject": inject, "retrieve": retrieve, "n_docs": "n_docs"}),
    Module("cross-doc-attn", "cross_doc_attn", "CrossDocAttention", "CrossDocConfig", {"forward": "out"}),
    Module("video-frame-prune:squish6", "video_frame_prune", "VideoFramePruner", "FrameConfig",
           {"prune_temporal": "kept", "prune_spatial": "kept"}, unknown={"motion_threshold": ANY}),
    Module("embedding-gate:squish6", "embedding_gate", "EmbeddingGate", "GateConfig",
           {"gate": ("route", "masked"), "update_threshold": None}),
    Module("long-context-chunk", "long_context_chunk", "LongContextChunker", "ChunkConfig", {"chunk": "chunks"}),
    Module("modality-router", "modality_router", "ModalityRouter", "ModalityPolicy",
           {"route": "accepted", "complete": None, "slo_violation_rate": "rate", "active_counts": "active",
            "register": register},
           new=new_router),
    Module("ternary-quant", "ternary_quant", "TernaryQuantizer", "TernaryConfig",
           {"quantize": ("ternary", "scale"), "dequantize": "weights"}, renamed={"ternary": "ternary_weights"}),
    Module("binary-attn:squish6", "binary_attn", "BinaryAttention", "BinaryConfig", {"forward": "out"}),
    Module("structured-prune", "structured_prune", "StructuredPruner", "PruneConfig",
           {"prune": ("pruned", "mask"), "sparsity_fraction": "fraction"}, unknown={"group_rows": ANY, "sparsity": ANY}),
    Module("layer-fusion", "layer_fuse", "LayerFuser", "FusionConfig",
           {"cosine_similarity": "similarity", "should_fuse": "fuse", "fuse": "fused"}, unknown={"w": 0.5}),
    Module("weight-sharing", "weight_sharing", "WeightSharer", "SharingConfig",
           {"get_effective_weight": "weight", "memory_bytes": "bytes", "dense_memory_bytes": "bytes", "memory_ratio": "ratio"},
           new=new_shared_weights),
    Module("quant-calib:squish6", "quant_calib", "QuantCalibrator", "CalibConfig", {"calibrate": quant_calibrate}),
    Module("sparse-weight", "sparse_weight", "SparseWeightStore", "SparsityConfig",
           {"compress": None, "decompress": "dense", "memory_bytes": "bytes", "dense_memory_bytes": "bytes",
            "compression_ratio": "ratio"}, unknown={"format": "nm"}),
    Module("delta-compress", "delta_compress", "DeltaCompressor", "DeltaConfig",
           {"compress": ("u", "s", "vt"), "decompress": "delta", "compression_ratio": "ratio"},
           renamed={"u": "U_k", "s": "S_k", "vt": "Vt_k"}),
    Module("model-surgery", "model_surgery", "ModelSurgeon", "SurgeryPlan",
           {"plan": "plan", "estimate_reduction": estimate_reduction, "apply": apply},
           new=lambda module, package, config: package.ModelSurgeon()),
    Module("zero-quant-v2", "zero_quant_v2", "ZeroQuantV2", "ZQConfig",
           {"quantize": ("quantized", "scales", "residual"), "dequantize": dequantize},
           empty={"quantize": {"lorc_u": MATRIX, "lorc_v": MATRIX}}),
    Module("gptq-layer:squish6", "gptq_layer", "GPTQCalibrator", "GPTQConfig", {"calibrate": "weights"},
           unknown={"group_size": ANY, "symmetric": ANY, "act_order": ANY},
           empty={"calibrate": {"codes": CODES, "scales": MATRIX, "zero_points": CODES, "order": CODES, "losses": NUMBERS,
                                "damp_percent": 0.0}}),
    Module("sparse-moe", "sparse_moe", "SparseMoERouter", "MoEConfig", {"route": ("indices", "weights", "aux_loss")},
           unknown={"seed": ANY}, new=new_mixture,
           empty={"route": {"capacity": 0, "dropped": 0}, "stats": {"expert_load": CODES, "total_dropped": 0}}),
    Module("awq-v2:squish6", "awq_v2", "AWQv2Calibrator", "AWQv2Config",
           {"calibrate": awq_calibrate, "quantize": "codes"},
           empty={"quantize": {"group_scales": MATRIX, "zero_points": CODES}}),
    Module("iter-prune:squish6", "iter_prune", "IterativePruner", "PruneSchedule",
           {"prune_step": ("pruned", "sparsity"), "current_sparsity": "sparsity"}, unknown={"regrow_fraction": ANY}),
]

def main(wanted):
    names = [module.name.split(":")[0] for module in MODULES]
    strangers = [name for name in wanted if name not in names]
    if strangers:
        sys.exit(f"squish_adapter: module: want some of {', '.join(names)}, got {', '.join(strangers)}")
    try:
        package = importlib.import_module("squish")
    except ImportError as e:
        sys.exit(f"squish_adapter: the Python package squish, version 6.0.0, cannot be imported: {e}")
    classes = []
    for name, module in zip(names, MODULES):
        if wanted and name not in wanted:
            continue
        try:
            classes.append(module.load())
        except ImportError as e:
            print(f"squish_adapter: {name} is not offered: {e}", file=sys.stderr)
    if not classes:
        sys.exit("squish_adapter: the package squish is there, but none of the modules: is it version 6.0.0?")
    serve("squish", getattr(package, "__version__", "6.0.0"), classes, KINDS)


if __name__ == "__main__":
    main(sys.argv[1:])
