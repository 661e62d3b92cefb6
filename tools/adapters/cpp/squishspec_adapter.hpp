// The adapter protocol of squishspec, for C++17 and nothing else.
//
// An adapter is a program that reads frames on stdin and answers each on stdout.
// This file does the reading and answering; an implementer derives one class a
// module from Module, offers it, and serves:
//
//   int main() {
//     squishspec::Adapter adapter("mylib", "1.4.0");
//     adapter.offer<TernaryQuant>({"ternary-quant"});
//     return adapter.serve();
//   }
//
// A constructor takes its config, call() an operation's arguments, both a Value: an
// object by the wire's names. Results are one too. A call that must be refused throws
// Refused; any other exception is a failure of the adapter. stdout belongs to the
// frames: what is printed there while serving goes to stderr.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace squishspec {

constexpr uint64_t max_header = 1 << 20;
constexpr uint64_t max_frame = 1 << 30;

// A call that must not be made: kind is invalid, capacity, state, range, unknown or
// unsupported. The instance must be as it was before.
struct Refused : std::runtime_error {
  Refused(std::string kind, const std::string& message) : std::runtime_error(message), kind(std::move(kind)) {}
  std::string kind;
};

// Bytes that are no frame, or no JSON.
struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// require refuses an argument, in the words of the specification's own errors.
template <typename Got>
void require(bool ok, const std::string& name, const std::string& wanted, const Got& got) {
  if (ok) return;
  std::ostringstream text;
  text << name << ": want " << wanted << ", got " << got;
  throw Refused("invalid", text.str());
}

// --- tensors -----------------------------------------------------------------

inline size_t size_of(const std::string& dtype) {
  static const std::map<std::string, size_t> sizes = {{"F64", 8}, {"I64", 8}, {"F32", 4}, {"I32", 4}, {"F16", 2},
                                                      {"BF16", 2}, {"I16", 2}, {"I8", 1}, {"U8", 1}, {"BOOL", 1}};
  auto found = sizes.find(dtype);
  if (found == sizes.end()) throw FormatError("dtype: no such one as " + dtype);
  return found->second;
}

template <typename T> const char* dtype_of();
template <> inline const char* dtype_of<double>() { return "F64"; }
template <> inline const char* dtype_of<float>() { return "F32"; }
template <> inline const char* dtype_of<int64_t>() { return "I64"; }
template <> inline const char* dtype_of<int32_t>() { return "I32"; }
template <> inline const char* dtype_of<int16_t>() { return "I16"; }
template <> inline const char* dtype_of<int8_t>() { return "I8"; }
template <> inline const char* dtype_of<uint8_t>() { return "U8"; }

using Shape = std::vector<int64_t>;

// A Tensor is row-major and little-endian, as this machine must be too.
struct Tensor {
  std::string dtype;
  Shape shape;
  std::string bytes;

  // get returns the elements, which must be of that type.
  template <typename T> std::vector<T> get() const {
    if (dtype != dtype_of<T>()) throw Refused("invalid", "want a tensor of " + std::string(dtype_of<T>()) + ", got " + dtype);
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }
};

template <typename T> Tensor tensor(const std::vector<T>& elements, Shape shape) {
  return {dtype_of<T>(), std::move(shape), std::string(reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T))};
}

template <typename T> Tensor tensor(const std::vector<T>& elements) { return tensor(elements, {int64_t(elements.size())}); }

// --- values ------------------------------------------------------------------

// A Value is what JSON can say, or a tensor.
class Value {
 public:
  enum class Kind { null, boolean, number, text, list, object, tensor };

  Value() = default;
  Value(bool b) : kind_(Kind::boolean), number_(b) {}
  Value(double x) : kind_(Kind::number), number_(x), whole_(std::abs(x) < 0x1p63 ? int64_t(x) : 0) {}
  Value(int64_t n) : kind_(Kind::number), number_(double(n)), whole_(n), is_whole_(true) {}
  Value(int n) : Value(int64_t(n)) {}
  Value(size_t n) : Value(int64_t(n)) {}
  Value(std::string s) : kind_(Kind::text), text_(std::move(s)) {}
  Value(const char* s) : Value(std::string(s)) {}
  Value(Tensor t) : kind_(Kind::tensor), tensor_(std::move(t)) {}
  static Value list(std::vector<Value> items) {
    Value v;
    v.kind_ = Kind::list;
    v.items_ = std::move(items);
    return v;
  }
  static Value object(std::map<std::string, Value> members) {
    Value v;
    v.kind_ = Kind::object;
    v.members_ = std::move(members);
    return v;
  }

  Kind kind() const { return kind_; }
  bool boolean() const { return as(Kind::boolean, "true or false").number_ != 0; }
  // number also reads a tensor of shape [], which is a number that JSON cannot write.
  double number() const {
    if (kind_ == Kind::tensor && tensor_.shape.empty()) {
      return tensor_.dtype == "F64" ? tensor_.get<double>()[0] : tensor_.get<float>()[0];
    }
    return as(Kind::number, "a number").number_;
  }
  // whole is exact over all of int64_t.
  int64_t whole() const { return as(Kind::number, "a number").whole_; }
  bool is_whole() const { return is_whole_; }
  const std::string& text() const { return as(Kind::text, "a string").text_; }
  const Tensor& tensor() const { return as(Kind::tensor, "a tensor").tensor_; }
  const std::vector<Value>& items() const { return as(Kind::list, "a list").items_; }
  const std::map<std::string, Value>& members() const { return as(Kind::object, "an object").members_; }

  // has reports whether a member is there and not null.
  bool has(const std::string& name) const {
    auto found = members().find(name);
    return found != members().end() && found->second.kind_ != Kind::null;
  }
  const Value& operator[](const std::string& name) const {
    if (!has(name)) throw Refused("invalid", name + ": want a value, got none");
    return members().at(name);
  }
  double number_or(const std::string& name, double otherwise) const { return has(name) ? (*this)[name].number() : otherwise; }
  int64_t whole_or(const std::string& name, int64_t otherwise) const { return has(name) ? (*this)[name].whole() : otherwise; }

 private:
  const Value& as(Kind kind, const char* wanted) const {
    if (kind_ != kind) throw Refused("invalid", std::string("want ") + wanted + ", got another kind of value");
    return *this;
  }

  Kind kind_ = Kind::null;
  double number_ = 0;
  int64_t whole_ = 0;
  bool is_whole_ = false;
  std::string text_;
  std::vector<Value> items_;
  std::map<std::string, Value> members_;
  Tensor tensor_;
};

// --- JSON --------------------------------------------------------------------

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Value parse() {
    Value v = value(0);
    if (next() != 0 || at_ < text_.size()) fail("its end");
    return v;
  }

 private:
  Value value(int depth) {
    if (depth > 100) fail("fewer levels");
    switch (next()) {
      case '{': return object(depth);
      case '[': return list(depth);
      case '"': return Value(string());
      case 't': return word("true", Value(true));
      case 'f': return word("false", Value(false));
      case 'n': return word("null", Value());
    }
    return number();
  }

  Value object(int depth) {
    std::map<std::string, Value> members;
    for (at_++; next() != '}';) {
      if (!members.empty()) take(',');
      if (next() != '"') fail("a name");
      std::string name = string();
      take(':');
      members[name] = value(depth + 1);
    }
    at_++;
    return Value::object(std::move(members));
  }

  Value list(int depth) {
    std::vector<Value> items;
    for (at_++; next() != ']';) {
      if (!items.empty()) take(',');
      items.push_back(value(depth + 1));
    }
    at_++;
    return Value::list(std::move(items));
  }

  std::string string() {
    std::string out;
    for (at_++; at_ < text_.size() && text_[at_] != '"'; at_++) {
      if (text_[at_] != '\\') {
        out += text_[at_];
        continue;
      }
      static const std::map<char, char> escapes = {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', '\b'},
                                                   {'f', '\f'}, {'n', '\n'}, {'r', '\r'}, {'t', '\t'}};
      if (++at_ >= text_.size()) fail("an escape");
      auto found = escapes.find(text_[at_]);
      if (found != escapes.end()) {
        out += found->second;
      } else if (text_[at_] == 'u') {
        append_utf8(out, code_point());
      } else {
        fail("an escape");
      }
    }
    if (at_++ >= text_.size()) fail("the end of a string");
    return out;
  }

  // code_point reads \uXXXX, or two of them that are a surrogate pair.
  uint32_t code_point() {
    uint32_t high = four_digits();
    if (high < 0xd800 || high > 0xdbff || text_.compare(at_ + 1, 2, "\\u") != 0) return high;
    at_ += 2;
    return 0x10000 + ((high - 0xd800) << 10) + (four_digits() - 0xdc00);
  }

  uint32_t four_digits() {
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
      static const std::string digits = "0123456789abcdef";
      size_t digit = ++at_ < text_.size() ? digits.find(char(std::tolower(text_[at_]))) : std::string::npos;
      if (digit == std::string::npos) fail("four hexadecimal digits");
      code = code * 16 + uint32_t(digit);
    }
    return code;
  }

  static void append_utf8(std::string& out, uint32_t c) {
    if (c < 0x80) {
      out += char(c);
    } else if (c < 0x800) {
      out += {char(0xc0 | c >> 6), char(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      out += {char(0xe0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    } else {
      out += {char(0xf0 | c >> 18), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    }
  }

  Value number() {
    size_t end = text_.find_first_not_of("+-.0123456789eE", at_);
    std::string token = text_.substr(at_, end == std::string::npos ? end : end - at_);
    char* rest = nullptr;
    double x = std::strtod(token.c_str(), &rest);
    if (token.empty() || *rest != 0) fail("a value");
    at_ += token.size();
    errno = 0;
    int64_t n = std::strtoll(token.c_str(), &rest, 10);
    return *rest == 0 && errno == 0 ? Value(n) : Value(x);
  }

  Value word(const std::string& text, Value v) {
    if (text_.compare(at_, text.size(), text) != 0) fail(text);
    at_ += text.size();
    return v;
  }

  void take(char c) {
    if (next() != c) fail(std::string(1, c));
    at_++;
  }

  char next() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_])) at_++;
    return at_ < text_.size() ? text_[at_] : 0;
  }

  [[noreturn]] void fail(const std::string& wanted) const {
    throw FormatError("JSON: want " + wanted + " at byte " + std::to_string(at_));
  }

  const std::string& text_;
  size_t at_ = 0;
};

inline std::string quote(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (uint8_t(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

using Tensors = std::map<std::string, Tensor>;

// encode returns a value as JSON. Its tensors go to tensors, named by their place.
inline std::string encode(const Value& v, Tensors& tensors, const std::string& path = "") {
  auto below = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
  auto reference = [&](Tensor t) {
    if (!tensors.emplace(path, std::move(t)).second) throw std::runtime_error(path + ": two tensors would have this name");
    return "{\"tensor\":" + quote(path) + "}";
  };
  std::string out;
  switch (v.kind()) {
    case Value::Kind::null: return "null";
    case Value::Kind::boolean: return v.boolean() ? "true" : "false";
    case Value::Kind::text: return quote(v.text());
    case Value::Kind::tensor: return reference(v.tensor());
    case Value::Kind::number: {
      if (v.is_whole()) return std::to_string(v.whole());
      if (!std::isfinite(v.number())) return reference(tensor(std::vector<double>{v.number()}, {}));
      char digits[32];
      std::snprintf(digits, sizeof digits, "%.17g", v.number());
      return digits;
    }
    case Value::Kind::list:
      for (size_t i = 0; i < v.items().size(); i++) {
        out += (i ? "," : "") + encode(v.items()[i], tensors, below(std::to_string(i)));
      }
      return "[" + out + "]";
    case Value::Kind::object:
      for (const auto& [name, item] : v.members()) {
        out += (out.empty() ? "" : ",") + quote(name) + ":" + encode(item, tensors, below(name));
      }
      return "{" + out + "}";
  }
  return out;
}

// place puts tensors where {"tensor": NAME} stands.
inline Value place(const Value& v, const Tensors& tensors) {
  if (v.kind() == Value::Kind::list) {
    std::vector<Value> items;
    for (const Value& item : v.items()) items.push_back(place(item, tensors));
    return Value::list(std::move(items));
  }
  if (v.kind() != Value::Kind::object) return v;
  if (v.members().size() == 1 && v.has("tensor")) {
    auto found = tensors.find(v["tensor"].text());
    if (found == tensors.end()) throw std::runtime_error("tensor: the frame has none of the name " + v["tensor"].text());
    return Value(found->second);
  }
  std::map<std::string, Value> members;
  for (const auto& [name, item] : v.members()) members[name] = place(item, tensors);
  return Value::object(std::move(members));
}

// --- frames ------------------------------------------------------------------

using Metadata = std::map<std::string, std::string>;

struct Frame {
  Metadata metadata;
  Tensors tensors;
};

// read_some reads n bytes, or what there is before the end. The string grows with
// what comes: a header may promise more than there is.
inline std::string read_some(std::FILE* in, uint64_t n) {
  std::string out;
  char buffer[65536];
  while (n > 0) {
    size_t got = std::fread(buffer, 1, std::min<uint64_t>(n, sizeof buffer), in);
    if (got == 0) break;
    out.append(buffer, got);
    n -= got;
  }
  return out;
}

inline std::string read_all(std::FILE* in, uint64_t n, const std::string& what) {
  std::string out = read_some(in, n);
  if (out.size() < n) throw FormatError("read " + std::to_string(out.size()) + " of " + std::to_string(n) + " bytes of the " + what);
  return out;
}

// read_frame reads one frame and not a byte more. It returns false at the end.
inline bool read_frame(std::FILE* in, Frame& frame) {
  std::string prefix = read_some(in, 8);
  if (prefix.empty()) return false;
  if (prefix.size() < 8) throw FormatError("read " + std::to_string(prefix.size()) + " of 8 bytes of the header length");
  uint64_t length;
  std::memcpy(&length, prefix.data(), 8);
  if (length < 1 || length > max_header) throw FormatError("header length: want 1 to 1048576, got " + std::to_string(length));
  std::string text = read_all(in, length, "header");
  const Value header = Parser(text).parse();
  uint64_t end = 0;
  for (const auto& [name, entry] : header.members()) {
    if (name == "__metadata__") continue;
    int64_t stop = entry["data_offsets"].items().at(1).whole();
    if (stop < 0 || uint64_t(stop) > max_frame - 8 - length) throw FormatError("tensor " + name + ": it ends beyond a frame");
    end = std::max(end, uint64_t(stop));
  }
  const std::string data = read_all(in, end, "tensors");
  frame = {};
  for (const auto& [name, entry] : header.members()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.members()) frame.metadata[key] = value.text();
      continue;
    }
    const int64_t begin = entry["data_offsets"].items().at(0).whole(), stop = entry["data_offsets"].items().at(1).whole();
    Tensor t{entry["dtype"].text(), {}, ""};
    uint64_t bytes = size_of(t.dtype);
    bool empty = false;
    for (const Value& n : entry["shape"].items()) {
      t.shape.push_back(n.whole());
      if (n.whole() < 0 || uint64_t(n.whole()) > max_frame) throw FormatError("tensor " + name + ": shape");
      if (n.whole() == 0) empty = true;
      else if ((bytes *= uint64_t(n.whole())) > max_frame) throw FormatError("tensor " + name + ": shape");
    }
    if (begin < 0 || stop < begin || uint64_t(stop - begin) != (empty ? 0 : bytes)) throw FormatError("tensor " + name + ": data_offsets");
    t.bytes = data.substr(size_t(begin), size_t(stop - begin));
    frame.tensors[name] = std::move(t);
  }
  return true;
}

// frame_bytes returns a frame as bytes.
inline std::string frame_bytes(const Metadata& metadata, const Tensors& tensors) {
  std::string text = "{\"__metadata__\":{", data;
  for (const auto& [key, value] : metadata) text += (text.back() == '{' ? "" : ",") + quote(key) + ":" + quote(value);
  text += "}";
  for (const auto& [name, t] : tensors) {
    std::string shape;
    for (int64_t n : t.shape) shape += (shape.empty() ? "" : ",") + std::to_string(n);
    text += "," + quote(name) + ":{\"dtype\":" + quote(t.dtype) + ",\"shape\":[" + shape + "],\"data_offsets\":[" +
            std::to_string(data.size()) + "," + std::to_string(data.size() + t.bytes.size()) + "]}";
    data += t.bytes;
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');  // tensors are aligned in a file
  if (text.size() > max_header || 8 + text.size() + data.size() > max_frame) throw std::runtime_error("the answer is too long for a frame");
  uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + text + data;
}

// --- calls -------------------------------------------------------------------

// A Module is an instance of a module.
class Module {
 public:
  virtual ~Module() = default;
  // call makes one call and returns its results by name. It throws unknown() for an
  // operation that it does not have.
  virtual Value call(const std::string& operation, const Value& args) = 0;

  static Refused unknown(const std::string& operation) { return {"unsupported", "op: there is no operation " + operation}; }
};

class Adapter {
 public:
  // unit_roundoff is said where it is not float32's.
  Adapter(std::string name, std::string version, double unit_roundoff = 0)
      : name_(std::move(name)), version_(std::move(version)), unit_roundoff_(unit_roundoff) {}

  // offer says what M offers: "module" or "module:variant" first, then optional
  // operations, "module/operation". M is made of its config.
  template <typename M> void offer(const std::vector<std::string>& entries) {
    for (const std::string& entry : entries) offers_ += (offers_.empty() ? "" : ",") + quote(entry);
    constructors_[entries.at(0).substr(0, entries[0].find(':'))] = [](const Value& config) { return std::make_unique<M>(config); };
  }

  // serve answers the frames on stdin until stop or their end, and returns the
  // program's exit code.
  int serve() {
    std::FILE* answers = fdopen(dup(1), "wb");
    dup2(2, 1);  // whatever prints, prints on stderr
    try {
      for (Frame frame; read_frame(stdin, frame);) {
        const std::string bytes = answer(frame);
        if (std::fwrite(bytes.data(), 1, bytes.size(), answers) < bytes.size() || std::fflush(answers) != 0) return 1;
        if (frame.metadata["cmd"] == "stop") return 0;
      }
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s: not a frame: %s\n", name_.c_str(), e.what());
      return 1;
    }
    return 0;
  }

 private:
  std::string answer(const Frame& frame) {
    Metadata out;
    Tensors tensors;
    try {
      out = answer(frame, tensors);
      out.emplace("status", "ok");
      return identified(out, frame, tensors);
    } catch (const Refused& e) {
      out = {{"status", e.kind == "unsupported" ? "unsupported" : "rejected"}, {"message", e.what()}};
      if (e.kind != "unsupported") out["kind"] = e.kind;
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
      out = {{"status", "error"}, {"message", std::string(e.what()).substr(0, 1000)}};
    }
    return identified(out, frame, {});
  }

  static std::string identified(Metadata out, const Frame& frame, const Tensors& tensors) {
    auto id = frame.metadata.find("id");
    if (id != frame.metadata.end()) out["id"] = id->second;
    return frame_bytes(out, tensors);
  }

  Metadata answer(const Frame& frame, Tensors& tensors) {
    auto field = [&](const std::string& name) {
      auto found = frame.metadata.find(name);
      return found == frame.metadata.end() ? std::string() : found->second;
    };
    const std::string command = field("cmd");
    if (command == "hello") {
      if (field("protocol") != "1") return {{"status", "error"}, {"protocol", "1"}, {"message", "protocol: want 1, got " + field("protocol")}};
      Metadata hello = {{"protocol", "1"}, {"name", name_}, {"version", version_}, {"language", "C++"}, {"offers", "[" + offers_ + "]"}};
      if (unit_roundoff_ > 0) hello["unit_roundoff"] = encode(Value(unit_roundoff_), tensors);
      return hello;
    }
    if (command == "stop") return {};
    if (command == "close") {
      instances_.erase(field("handle"));
      return {};
    }
    if (command != "new" && command != "call" && command != "time") {
      throw Refused("unsupported", "cmd: want hello, new, call, time, close or stop, got " + command);
    }
    const std::string text = field("args").empty() ? "{}" : field("args");
    const Value args = place(Parser(text).parse(), frame.tensors);
    if (command == "new") {
      auto constructor = constructors_.find(field("module"));
      if (constructor == constructors_.end()) throw Refused("unsupported", "module: there is no module " + field("module"));
      auto instance = constructor->second(args);
      std::string handle = "h" + std::to_string(++opened_);
      instances_[handle] = std::move(instance);
      return {{"handle", handle}};
    }
    auto instance = instances_.find(field("handle"));
    if (instance == instances_.end()) throw std::runtime_error("handle: want one that is open, got " + field("handle"));
    Value out;
    if (command == "time") {
      out = times(*instance->second, field("op"), args, std::stol(field("repeat")));
    } else {
      out = instance->second->call(field("op"), args);
    }
    return {{"out", encode(out, tensors)}};
  }

  static Value times(Module& instance, const std::string& operation, const Value& args, long repeat) {
    std::vector<Value> ns;
    for (long i = 0; i < repeat; i++) {
      auto begin = std::chrono::steady_clock::now();
      instance.call(operation, args);
      ns.push_back(int64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin).count()));
    }
    return Value::object({{"ns", Value::list(std::move(ns))}});
  }

  std::string name_, version_, offers_;
  double unit_roundoff_;
  std::map<std::string, std::function<std::unique_ptr<Module>(const Value&)>> constructors_;
  std::map<std::string, std::unique_ptr<Module>> instances_;  // by handle
  int64_t opened_ = 0;
};

}  // namespace squishspec
