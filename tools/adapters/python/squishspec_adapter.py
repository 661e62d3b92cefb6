"""The adapter protocol of squishspec, for Python classes.

An adapter is a program that reads frames on stdin and answers each on stdout.
This file does the reading and answering; an implementer writes one class a
module and calls serve():

    class TernaryQuant:
        offers = ("ternary-quant",)

        def __init__(self, zero_threshold=0.5): ...
        def quantize(self, weights): return {"ternary": codes, "scale": scale}
        def stats(self): return {"total_quantize_calls": 1, ...}

    serve("mylib", "1.4.0", [TernaryQuant])

Methods are operations; their names, arguments and results are the wire's, and so
are the constructor's arguments, which are the config. An argument that may be
missing has a default: a null is left out. A numpy array is a tensor, anything
else (numbers, strings, lists, dicts, None) is JSON; a list of numbers stays a
list, so what the specification calls a tensor must be an array. Tensors that come
are read-only.

Where a method converts values that the library at hand has in another form, its
attribute timed, a function of instance and arguments, may return the library's own
part as a function without arguments: that part alone is timed.

A call that must be refused raises Refused; any other exception is a failure of
the adapter. Standard library and numpy only.
"""

import functools
import inspect
import json
import math
import os
import struct
import sys
import time
import traceback

import numpy as np

PROTOCOL = "1"
MAX_HEADER = 1 << 20
MAX_FRAME = 1 << 30

# BF16, which numpy lacks, is read as float32 from its bits.
DTYPES = {name: np.dtype(code) for name, code in {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}.items()}
NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


class Refused(Exception):
    """A call that must not be made: kind is invalid, capacity, state, range,
    unknown or unsupported. The instance must be as it was before."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def require(ok, name, wanted, got):
    """Refuses an argument, in the words of the specification's own errors."""
    if not ok:
        raise Refused("invalid", f"{name}: want {wanted}, got {got}")


class FrameError(Exception):
    """Bytes that are no frame. There is no way to find the next one."""


# --- frames ------------------------------------------------------------------

def read_frame(stream):
    """Reads one frame and not a byte more: its metadata and its tensors, by name.
    None where the stream has ended."""
    prefix = stream.read(8)
    if not prefix:
        return None
    if len(prefix) < 8:
        raise FrameError(f"read {len(prefix)} of 8 bytes of a header length")
    (length,) = struct.unpack("<Q", prefix)
    if not 0 < length <= MAX_HEADER:
        raise FrameError(f"header length: want 1 to {MAX_HEADER}, got {length}")
    try:
        header = json.loads(_read(stream, length, "header"))
        metadata = header.pop("__metadata__", {})
        layout = {name: _layout(**entry) for name, entry in header.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as e:
        raise FrameError(f"header: {type(e).__name__}: {e}") from e
    size = max((end for _, _, _, end in layout.values()), default=0)
    if size > MAX_FRAME - 8 - length:
        raise FrameError(f"want at most {MAX_FRAME} bytes a frame, got {size} of tensors")
    data = _read(stream, size, "tensors")
    return metadata, {name: _array(data, *where) for name, where in layout.items()}


def _read(stream, n, what):
    data = stream.read(n)
    if len(data) < n:
        raise FrameError(f"read {len(data)} of {n} bytes of the {what}")
    return data


def _layout(dtype, shape, data_offsets):
    begin, end = data_offsets
    if not 0 <= begin <= end or math.prod(shape) * DTYPES[dtype].itemsize != end - begin:
        raise ValueError(f"data_offsets: {data_offsets} is not the size of {dtype} {shape}")
    return dtype, shape, begin, end


def _array(data, dtype, shape, begin, end):
    array = np.frombuffer(data[begin:end], DTYPES[dtype])
    if dtype == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(shape)


def frame_bytes(metadata, tensors):
    """Returns a frame as bytes."""
    header, chunks, offset = {"__metadata__": metadata}, [], 0
    for name, array in tensors.items():
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype not in NAMES:
            raise TypeError(f"{name}: a tensor cannot have dtype {array.dtype}")
        chunks.append(array.tobytes())
        header[name] = {"dtype": NAMES[array.dtype], "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned in a file
    if len(text) > MAX_HEADER or 8 + len(text) + offset > MAX_FRAME:
        raise FrameError(f"a frame of {len(text)} bytes of header and {offset} of tensors is too long")
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


# --- values ------------------------------------------------------------------

def decode(value, tensors):
    """Puts tensors in their places in a value that JSON described. One of shape []
    is a number that JSON cannot write."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            array = tensors[value["tensor"]]
            return array if array.ndim else array.item()
        return {key: decode(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    return value


def _whole(digits):
    """Beyond 64 bits only floats are so long: numpy has no such int."""
    number = int(digits)
    return number if -1 << 63 <= number < 1 << 63 else float(number)


def encode(value, tensors, path=""):
    """Returns a value as JSON can write it. Its tensors go to tensors, named by
    their place."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        value = np.array(value)
    if isinstance(value, np.ndarray):
        if path in tensors:
            raise TypeError(f"{path}: two tensors would have this name")
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        return {str(key): encode(item, tensors, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, tensors, f"{path}.{i}") for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path}: no encoding of {type(value).__name__}")


# --- calls -------------------------------------------------------------------

class Adapter:
    """Answers frames with instances of the given classes.

    kinds says which exceptions of theirs beside Refused are refusals, and of which
    kind: a dict from exception class to kind, None for one that is none. The
    nearest base class decides. unit_roundoff is said where it is not float32's.
    """

    def __init__(self, name, version, classes, kinds=None, unit_roundoff=None):
        self.name, self.version = name, version
        self.precision = {} if unit_roundoff is None else {"unit_roundoff": repr(float(unit_roundoff))}
        self.kinds = kinds or {}
        self.offers = [entry for cls in classes for entry in cls.offers]
        self.classes = {cls.offers[0].split(":")[0]: cls for cls in classes}
        self.instances = {}  # by handle
        self.opened = 0

    def answer(self, metadata, tensors):
        """Returns the answer to one frame, as bytes."""
        identity = {"id": metadata["id"]} if "id" in metadata else {}
        try:
            answer, out_tensors = self._answer(metadata, tensors), {}
            if "out" in answer:
                answer["out"] = json.dumps(encode(answer["out"], out_tensors))
            return frame_bytes({"status": "ok", **answer, **identity}, out_tensors)
        except Refused as e:
            answer = {"status": "rejected", "kind": e.kind}
            if e.kind == "unsupported":
                answer = {"status": "unsupported"}
            message = str(e)
        except Exception as e:
            traceback.print_exception(e, file=sys.stderr)
            answer, message = {"status": "error"}, f"{type(e).__name__}: {e}"
        return frame_bytes({**answer, "message": message[:1000], **identity}, {})

    def _answer(self, metadata, tensors):
        command = metadata.get("cmd")
        if command == "hello":
            if metadata.get("protocol") != PROTOCOL:
                return {"status": "error", "protocol": PROTOCOL,
                        "message": f"protocol: want {PROTOCOL}, got {metadata.get('protocol')}"}
            return {"protocol": PROTOCOL, "name": self.name, "version": self.version, "language": "Python",
                    "offers": json.dumps(self.offers), **self.precision}
        if command == "stop":
            return {}
        if command == "close":
            self.instances.pop(metadata["handle"], None)
            return {}
        if command not in ("new", "call", "time"):
            raise Refused("unsupported", f"cmd: want hello, new, call, time, close or stop, got {command}")
        args = decode(json.loads(metadata.get("args") or "{}", parse_int=_whole), tensors)
        args = {name: value for name, value in args.items() if value is not None}
        if command == "new":
            return {"handle": self._new(metadata["module"], args)}
        method = self._method(metadata["handle"], metadata["op"], args)
        if command == "time":
            work = getattr(method, "timed", None)
            work = self._run(functools.partial(work, method.__self__), args) if work else functools.partial(method, **args)
            return {"out": {"ns": self._run(_times, {"work": work, "repeat": int(metadata["repeat"])})}}
        out = self._run(method, args)
        if not isinstance(out, (dict, type(None))):
            raise TypeError(f"{metadata['op']} returned {type(out).__name__}: want its results by name, a dict")
        return {"out": out or {}}

    def _new(self, module, config):
        cls = self.classes.get(module)
        if cls is None:
            raise Refused("unsupported", f"module: want one of {', '.join(self.classes)}, got {module}")
        _accepts(cls, config)
        instance = self._run(cls, config)
        self.opened += 1
        handle = f"h{self.opened}"
        self.instances[handle] = instance
        return handle

    def _method(self, handle, operation, args):
        if handle not in self.instances:
            raise LookupError(f"handle: want one of {len(self.instances)} open ones, got {handle}")
        instance = self.instances[handle]
        method = None if operation.startswith("_") else getattr(instance, operation, None)
        if not callable(method):
            raise Refused("unsupported", f"op: {type(instance).__name__} has no operation {operation}")
        _accepts(method, args)
        return method

    def _run(self, function, args):
        """Calls what the implementer wrote: only its exceptions have kinds."""
        try:
            return function(**args)
        except Refused:
            raise
        except Exception as e:
            kind = next((self.kinds[cls] for cls in type(e).__mro__ if cls in self.kinds), None)
            if kind is None:
                raise
            raise Refused(kind, f"{type(e).__name__}: {e}") from e


def _times(work, repeat):
    """How long each of so many calls took. The later half, warm, is timed as a whole,
    so that reading the clock is no part of short calls, and each has its share."""
    times = []
    for _ in range(repeat // 2):
        begin = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begin)
    rest = repeat - repeat // 2
    begin = time.perf_counter_ns()
    for _ in range(rest):
        work()
    return times + [(time.perf_counter_ns() - begin) / rest] * rest


def _accepts(function, args):
    """What a signature has no name for is not offered."""
    try:
        inspect.signature(function).bind(**args)
    except TypeError as e:
        raise Refused("unsupported", f"{function.__qualname__}: {e}") from None


def serve(name, version, classes, kinds=None, unit_roundoff=None):
    """Answers the frames on stdin until stop or their end. Whatever prints
    meanwhile, prints on stderr: stdout belongs to the frames."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    adapter = Adapter(name, version, classes, kinds, unit_roundoff)
    try:
        while (frame := read_frame(requests)) is not None:
            answers.write(adapter.answer(*frame))
            answers.flush()
            if frame[0].get("cmd") == "stop":
                break
    except FrameError as e:
        sys.exit(f"{name}: not a frame: {e}")
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
