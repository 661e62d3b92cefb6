// An adapter that answers with what it was asked.
#include "squishspec_adapter.hpp"

#include <iostream>
#include <limits>

using squishspec::Refused;
using squishspec::Value;

class Echo : public squishspec::Module {
 public:
  explicit Echo(const Value& config) : greeting_(config.has("greeting") ? config["greeting"].text() : "hello") {
    if (greeting_.empty()) throw Refused("range", "greeting: want a word, got none");
  }

  Value call(const std::string& operation, const Value& args) override {
    const double infinity = std::numeric_limits<double>::infinity();
    if (operation == "echo") return Value::object({{"value", args.has("value") ? args["value"] : Value()}, {"greeting", greeting_}});
    if (operation == "double") return Value::object({{"twice", 2 * args["x"].number()}});
    if (operation == "next") return Value::object({{"pos", args["pos"].whole() + 1}});
    if (operation == "limits") {
      return Value::object({{"nan", double(NAN)}, {"least", -infinity}, {"single", infinity}, {"zero", -0.0}});
    }
    if (operation == "shout") {
      std::cout << "shouted" << std::endl;
      std::puts("shouted louder");
      std::fflush(stdout);
      return Value::object({});
    }
    if (operation == "fail") throw std::runtime_error("failed");
    if (operation == "unsendable") return Value::object({{"value", Value(std::string(2 << 20, 'x'))}});
    if (operation == "lacks") throw Refused("unsupported", "lacking");
    throw unknown(operation);
  }

 private:
  std::string greeting_;
};

int main() {
  squishspec::Adapter adapter("echo", "1.0", 0.25);
  adapter.offer<Echo>({"echo", "echo/shout"});
  return adapter.serve();
}
