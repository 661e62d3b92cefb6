// An adapter to fill in, with one module filled in. Copy this file, and run
//
//   g++ -std=c++17 -O2 -o my_adapter my_adapter.cpp
//   conform check -- ./my_adapter
//
// Names of operations, arguments, results and config fields are those of
// spec/<module>.go. README.md, one folder up, goes through it step by step.
#include "squishspec_adapter.hpp"

using squishspec::Module;
using squishspec::require;
using squishspec::tensor;
using squishspec::Tensor;
using squishspec::Value;

// BitNet b1.58 (arXiv 2402.17764), the rounding written as a threshold.
class TernaryQuant : public Module {
 public:
  explicit TernaryQuant(const Value& config) : threshold_(config.number_or("zero_threshold", 0.5)) {
    require(threshold_ > 0 && std::isfinite(threshold_), "zero_threshold", "a finite number above 0", threshold_);
  }

  Value call(const std::string& operation, const Value& args) override {
    if (operation == "quantize") return quantize(args["weights"].tensor());
    if (operation == "dequantize") return dequantize(args["ternary"].tensor(), args["scale"].number());
    if (operation == "stats") return stats();
    throw unknown(operation);
  }

 private:
  Value quantize(const Tensor& t) {
    const auto weights = t.get<float>();
    require(!weights.empty(), "weights", "at least one", 0);
    double scale = 0;
    for (float w : weights) {
      require(std::isfinite(w), "weights", "finite numbers", w);
      scale += std::abs(double(w));
    }
    scale /= double(weights.size());
    std::vector<int8_t> codes;
    for (float w : weights) codes.push_back(int8_t((w > threshold_ * scale) - (w < -threshold_ * scale)));
    calls_++;
    weights_ += int64_t(codes.size());
    zeros_ += std::count(codes.begin(), codes.end(), 0);
    return Value::object({{"ternary", tensor(codes, t.shape)}, {"scale", double(float(scale))}});
  }

  Value dequantize(const Tensor& t, double scale) {
    const auto codes = t.get<int8_t>();
    require(!codes.empty(), "ternary", "at least one code", 0);
    require(std::isfinite(scale), "scale", "a finite number", scale);
    std::vector<float> weights;
    for (int8_t code : codes) {
      require(code >= -1 && code <= 1, "ternary", "codes -1, 0 and 1", int(code));
      weights.push_back(code == 0 ? 0 : float(code) * float(scale));
    }
    return Value::object({{"weights", tensor(weights, t.shape)}});
  }

  Value stats() const {
    return Value::object({{"total_quantize_calls", calls_}, {"total_weights_quantized", weights_}, {"total_zeros", zeros_},
                          {"sparsity", weights_ ? double(zeros_) / double(weights_) : 0.0}});
  }

  double threshold_;
  int64_t calls_ = 0, weights_ = 0, zeros_ = 0;
};

int main() {
  squishspec::Adapter adapter("C++ template", "0.1");
  adapter.offer<TernaryQuant>({"ternary-quant"});
  return adapter.serve();
}
