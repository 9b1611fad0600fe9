#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "../configs.hpp"
#include "../parts.hpp"

// The models of configs.hpp behind one interface: each is compiled once for each backend, in a file
// that CMake writes from model.cpp.in, for bench_step and bench_decode.

namespace bench {

struct Request {
  int batch = 0, length = 0;  // training: the batch; generation: sequences and prompt
  int threads = 0;
  std::string optimizer = {};  // adamw, muon, or empty: no training
};

class Model {
 public:
  virtual ~Model() = default;

  /// Forward and backward on one batch; adds to the gradients. A model on an Inference backend has
  /// no backward and no update.
  virtual void pass() = 0;
  /// As pass(), and returns the time of each part.
  virtual PartSeconds pass_by_part() = 0;
  /// The optimizer's step.
  virtual void update() = 0;

  /// Reads a prompt of request.length tokens into each of request.batch empty windows.
  virtual void prefill() = 0;
  /// Generates one more token for each window.
  virtual void decode() = 0;
  /// Tokens in each window.
  virtual int window() const = 0;

  virtual std::size_t parameters() const = 0;
  virtual std::size_t parameter_bytes() const = 0;
  /// The least memory that training needs: parameters, gradients, the optimizer's state, and for
  /// each token and layer 6 dim + top_k hidden (twice when gated) + heads + experts + 2 top_k
  /// numbers.
  virtual double minimal_bytes() const = 0;
};

using MakeModel = std::unique_ptr<Model> (*)(const Request&);

/// Every model that this program was built with, by its name and that of its backend.
inline std::map<std::pair<std::string, std::string>, std::pair<const Case*, MakeModel>>& models() {
  static std::map<std::pair<std::string, std::string>, std::pair<const Case*, MakeModel>> all;
  return all;
}
struct Registration {
  Registration(const Case& model, const char* backend, MakeModel make) {
    models()[{model.name, backend}] = {&model, make};
  }
};

}  // namespace bench
