// The adapter protocol of squishspec, for JavaScript classes.
//
// An adapter is a program that reads frames on stdin and answers each on stdout.
// This file does the reading and answering; an implementer writes one class a
// module and calls serve():
//
//   class TernaryQuant {
//     static offers = ["ternary-quant"];
//     constructor({ zero_threshold = 0.5 }) { … }
//     quantize({ weights }) { return { ternary: tensor(codes, weights.shape), scale }; }
//     stats() { return { total_quantize_calls: 1, … }; }
//   }
//   serve("mylib", "1.4.0", [TernaryQuant]);
//
// Methods are operations. Each takes its arguments by name, as one object, and
// returns its results by name; names are the wire's, and so are those of the config.
// An argument that may be missing has a default: a null is left out. A tensor is
// { dtype, shape, data }, data a typed array; numbers, strings, lists and objects
// are JSON. A list of numbers stays a list, so what the specification calls a tensor
// must be one. Numbers are doubles; arguments that are any whole number, named in
// "static whole", come as BigInt.
//
// A call that must be refused throws Refused; anything else that is thrown is a
// failure of the adapter. Node and nothing else.
"use strict";

const fs = require("node:fs");

const PROTOCOL = "1";
const MAX_HEADER = 2 ** 20;
const MAX_FRAME = 2 ** 30;

// F16 and BF16 have no typed array: they are read as F32.
const DTYPES = {
  F64: Float64Array, F32: Float32Array, I64: BigInt64Array, I32: Int32Array, I16: Int16Array, I8: Int8Array, U8: Uint8Array,
  BOOL: Uint8Array, F16: Uint16Array, BF16: Uint16Array,
};

// A call that must not be made: kind is invalid, capacity, state, range, unknown or
// unsupported. The instance must be as it was before.
class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// need refuses an argument, in the words of the specification's own errors.
function need(ok, name, wanted, got) {
  if (!ok) throw new Refused("invalid", `${name}: want ${wanted}, got ${got}`);
}

// tensor makes a tensor of a typed array, flat where it has no shape. Its dtype is
// the array's, or "BOOL" for a Uint8Array of truth values.
function tensor(data, shape = [data.length], dtype = undefined) {
  dtype ??= Object.keys(DTYPES).find((name) => DTYPES[name] === data.constructor);
  if (!DTYPES[dtype] || dtype === "F16" || volume(shape) !== data.length) {
    throw new TypeError(`a tensor of shape [${shape}] cannot be made of ${data.constructor.name}(${data.length})`);
  }
  return { dtype, shape, data };
}

function isTensor(value) {
  return ArrayBuffer.isView(value?.data) && Array.isArray(value.shape);
}

function volume(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

// --- frames ------------------------------------------------------------------

// Bytes that are no frame: there is no way to find the next one.
class FrameError extends Error {}

// readFrame reads one frame and not a byte more: its metadata and its tensors, by
// name; null at the end. read(n) returns n bytes, or fewer where they end.
function readFrame(read) {
  const prefix = read(8);
  if (prefix.length === 0) return null;
  const whole = (bytes, n, what) => {
    if (bytes.length < n) throw new FrameError(`read ${bytes.length} of ${n} bytes of the ${what}`);
    return bytes;
  };
  const length = whole(prefix, 8, "header length").readBigUInt64LE();
  if (length < 1n || length > BigInt(MAX_HEADER)) throw new FrameError(`header length: want 1 to ${MAX_HEADER}, got ${length}`);
  const n = Number(length);
  const { metadata, layout } = parseHeader(whole(read(n), n, "header"));
  const size = Math.max(0, ...layout.map(({ end }) => end));
  if (size > MAX_FRAME - 8 - n) throw new FrameError(`want at most ${MAX_FRAME} bytes a frame, got ${size} of tensors`);
  const data = whole(read(size), size, "tensors");
  const tensors = Object.fromEntries(layout.map((where) => [where.name, tensorAt(data, where)]));
  return { metadata, tensors };
}

function parseHeader(text) {
  try {
    const { __metadata__: metadata = {}, ...entries } = JSON.parse(text);
    const layout = Object.entries(entries).map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
      if (!(begin >= 0 && begin <= end && volume(shape) * DTYPES[dtype].BYTES_PER_ELEMENT === end - begin)) {
        throw new RangeError(`data_offsets: [${begin},${end}] is not the size of ${dtype} [${shape}]`);
      }
      return { name, dtype, shape, begin, end };
    });
    return { metadata, layout };
  } catch (e) {
    throw new FrameError(`header: ${e.message}`);
  }
}

function tensorAt(bytes, { dtype, shape, begin, end }) {
  // A copy of its own is aligned, and moves NaN payloads untouched.
  const data = new DTYPES[dtype](new Uint8Array(bytes.subarray(begin, end)).buffer);
  if (dtype === "F16") return { dtype: "F32", shape, data: Float32Array.from(data, half) };
  if (dtype === "BF16") return { dtype: "F32", shape, data: new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer) };
  return { dtype, shape, data };
}

// half is the value of an IEEE binary16: sign, 5 bits of exponent, 10 of fraction.
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

// frameBytes returns a frame as bytes.
function frameBytes(metadata, tensors) {
  const header = { __metadata__: metadata };
  const chunks = [];
  let offset = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    chunks.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  let text = Buffer.from(JSON.stringify(header));
  text = Buffer.concat([text, Buffer.alloc(-text.length & 7, " ")]); // tensors are aligned in a file
  if (text.length > MAX_HEADER || 8 + text.length + offset > MAX_FRAME) {
    throw new FrameError(`a frame of ${text.length} bytes of header and ${offset} of tensors is too long`);
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...chunks]);
}

// --- values ------------------------------------------------------------------

// decode puts tensors in their places in an object that JSON describes. One of shape
// [] is a number that JSON cannot write. Members named in whole are BigInt.
function decode(text, tensors, whole = []) {
  const place = (value) => {
    if (Array.isArray(value)) return value.map(place);
    if (value === null || typeof value !== "object") return value;
    const keys = Object.keys(value);
    if (keys.length === 1 && keys[0] === DIGITS) return Number(value[DIGITS]);
    if (keys.length === 1 && keys[0] === "tensor") {
      const found = tensors[value.tensor];
      if (!found) throw new Error(`tensor: want one of the frame's, got ${value.tensor}`);
      return found.shape.length ? found : found.data[0];
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, place(item)]));
  };
  const members = Object.entries(JSON.parse(keepDigits(text)));
  return Object.fromEntries(members.map(([key, item]) => [key, whole.includes(key) ? BigInt(item?.[DIGITS] ?? item) : place(item)]));
}

// JSON.parse makes doubles: the digits of whole numbers that may not be one are
// kept beside it.
const DIGITS = "\0digits";
function keepDigits(text) {
  return text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => (/^-?\d{16,}$/.test(token) ? JSON.stringify({ [DIGITS]: token }) : token));
}

// encode returns a value as JSON. Its tensors go to tensors, named by their place.
function encode(value, tensors, path = "") {
  const below = (key) => (path ? `${path}.${key}` : String(key));
  if (typeof value === "number" && !Number.isFinite(value)) value = tensor(Float64Array.of(value), []);
  if (isTensor(value)) {
    if (path in tensors) throw new TypeError(`${path}: two tensors would have this name`);
    tensors[path] = value;
    return JSON.stringify({ tensor: path });
  }
  if (Object.is(value, -0)) return "-0.0";
  if (typeof value === "bigint") return String(value);
  if (value === null || ["number", "boolean", "string"].includes(typeof value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item, i) => encode(item, tensors, below(i))).join()}]`;
  if (value?.constructor === Object) {
    return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${encode(item, tensors, below(key))}`).join()}}`;
  }
  throw new TypeError(`${path}: no encoding of ${value?.constructor?.name ?? typeof value}`);
}

// --- calls -------------------------------------------------------------------

// An Adapter answers frames with instances of the given classes.
class Adapter {
  constructor(name, version, classes, unitRoundoff = undefined) {
    this.hello = {
      protocol: PROTOCOL, name, version, language: "JavaScript",
      offers: JSON.stringify(classes.flatMap((cls) => cls.offers)),
      // Said where it is not float32's.
      ...(unitRoundoff === undefined ? {} : { unit_roundoff: String(unitRoundoff) }),
    };
    this.classes = new Map(classes.map((cls) => [cls.offers[0].split(":")[0], cls]));
    this.instances = new Map(); // by handle
    this.opened = 0;
  }

  // answer returns the answer to one frame, as bytes.
  answer(metadata, tensors) {
    const identity = "id" in metadata ? { id: metadata.id } : {};
    try {
      const answer = this.#answer(metadata, tensors), outTensors = {};
      if ("out" in answer) answer.out = encode(answer.out, outTensors);
      return frameBytes({ status: "ok", ...answer, ...identity }, outTensors);
    } catch (e) {
      const message = String(e?.message ?? e).slice(0, 1000);
      if (!(e instanceof Refused)) {
        console.error(e);
        return frameBytes({ status: "error", message, ...identity }, {});
      }
      const refusal = e.kind === "unsupported" ? { status: "unsupported" } : { status: "rejected", kind: e.kind };
      return frameBytes({ ...refusal, message, ...identity }, {});
    }
  }

  #answer(metadata, tensors) {
    const { cmd } = metadata;
    if (cmd === "hello") {
      if (metadata.protocol === PROTOCOL) return this.hello;
      return { status: "error", protocol: PROTOCOL, message: `protocol: want ${PROTOCOL}, got ${metadata.protocol}` };
    }
    if (cmd === "stop") return {};
    if (cmd === "close") {
      this.instances.delete(metadata.handle);
      return {};
    }
    if (!["new", "call", "time"].includes(cmd)) {
      throw new Refused("unsupported", `cmd: want hello, new, call, time, close or stop, got ${cmd}`);
    }
    if (cmd === "new") return { handle: this.#new(metadata, tensors) };
    const instance = this.instances.get(metadata.handle);
    if (!instance) throw new Error(`handle: want one of ${this.instances.size} open ones, got ${metadata.handle}`);
    const method = methodOf(instance, metadata.op);
    const args = given(metadata, tensors, instance.constructor.whole);
    if (cmd === "time") return { out: { ns: time(method, args, Number(metadata.repeat)) } };
    return { out: method(args) ?? {} };
  }

  #new(metadata, tensors) {
    const cls = this.classes.get(metadata.module);
    if (!cls) throw new Refused("unsupported", `module: want one of ${[...this.classes.keys()].join(", ")}, got ${metadata.module}`);
    const instance = new cls(given(metadata, tensors, cls.whole));
    const handle = `h${++this.opened}`;
    this.instances.set(handle, instance);
    return handle;
  }
}

// given returns the arguments that are not null.
function given({ args = "{}" }, tensors, whole) {
  return Object.fromEntries(Object.entries(decode(args, tensors, whole)).filter(([, value]) => value !== null));
}

// methodOf returns an operation: a method of the instance's class, not Object's.
function methodOf(instance, operation) {
  const own = Object.getPrototypeOf(instance);
  if (operation === "constructor" || !Object.hasOwn(own, operation)) {
    throw new Refused("unsupported", `op: ${own.constructor.name} has no operation ${operation}`);
  }
  return (args) => instance[operation](args);
}

function time(method, args, repeat) {
  const times = [];
  for (let i = 0; i < repeat; i++) {
    const begin = process.hrtime.bigint();
    method(args);
    times.push(Number(process.hrtime.bigint() - begin));
  }
  return times;
}

// serve answers the frames on stdin until stop or their end. Whatever prints
// meanwhile, prints on stderr: stdout belongs to the frames.
function serve(name, version, classes, unitRoundoff = undefined) {
  globalThis.console = new console.Console(process.stderr);
  Object.defineProperty(process, "stdout", { value: process.stderr });
  const adapter = new Adapter(name, version, classes, unitRoundoff);
  try {
    for (let frame; (frame = readFrame(readSome)); ) {
      writeAll(adapter.answer(frame.metadata, frame.tensors));
      if (frame.metadata.cmd === "stop") return;
    }
  } catch (e) {
    if (e.code === "EPIPE") process.exit(1);
    if (!(e instanceof FrameError)) throw e;
    console.error(`${name}: not a frame: ${e.message}`);
    process.exitCode = 1;
  }
}

// readSome reads n bytes, or what there is before the end. The buffer grows with
// what comes: a header may promise more than there is.
function readSome(n) {
  const chunks = [];
  while (n > 0) {
    const chunk = Buffer.alloc(Math.min(n, 65536));
    const got = patiently(() => fs.readSync(0, chunk));
    if (got === 0) break;
    chunks.push(chunk.subarray(0, got));
    n -= got;
  }
  return Buffer.concat(chunks);
}

function writeAll(bytes) {
  while (bytes.length) bytes = bytes.subarray(patiently(() => fs.writeSync(1, bytes)));
}

// patiently tries again while a pipe that does not block has nothing, or no room.
function patiently(io) {
  for (;;) {
    try {
      return io();
    } catch (e) {
      if (e.code === "EOF") return 0;
      if (e.code !== "EAGAIN") throw e;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

module.exports = { Refused, need, tensor, serve, readFrame, frameBytes, decode, encode };
