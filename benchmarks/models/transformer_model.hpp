#pragma once
#include <algorithm>
#include <chrono>
#include <moe/core/random.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/parameters.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <optional>
#include <vector>

#include "model.hpp"

namespace bench {

/// The optimizer of a model, or none if it is only run.
template <class Net, bool = moe::trains<typename Net::Backend>>
struct ModelOptimizer {
  void choose(const std::string& name, Net& net) {
    if (name == "adamw") adamw.emplace(net);
    if (name == "muon") muon.emplace(net);
  }
  void step() {
    if (adamw) adamw->step(0.01);
    if (muon) muon->step(0.01);
  }
  std::size_t state_bytes() const {
    return muon ? moe::Muon<Net>::state_bytes() : moe::AdamW<Net>::state_bytes();
  }
  std::optional<moe::AdamW<Net>> adamw;
  std::optional<moe::Muon<Net>> muon;
};
template <class Net>
struct ModelOptimizer<Net, false> {
  void choose(const std::string& name, Net&) {
    if (!name.empty())
      throw moe::Error(
          "cannot measure a training step on an Inference backend: its models are only run; choose "
          "cpu-f32 or cpu-bf16");
  }
  void step() {}
  std::size_t state_bytes() const { return 0; }
};

/// moe::Transformer with an optimizer or a generator. Tokens are random: they affect the time only
/// through the routing, which is nearly balanced at the start of training.
template <moe::ModelConfig C, class B>
class TransformerModel : public Model {
  using Backend = Timed<B>;
  using Net = moe::Transformer<C, Backend>;
  // A copy, because Clang 14 crashes on members of members of a template argument.
  static constexpr moe::ModelConfig config = C;

 public:
  explicit TransformerModel(const Request& request)
      : request_(request),
        backend_(request.threads),
        net_(backend_, {.max_tokens = tokens()}),
        text_(std::size_t(tokens()) + 1) {
    for (std::size_t i = 0; i < text_.size(); ++i)
      text_[i] = std::int32_t(moe::philox(1, 0, i)[0] % unsigned(config.vocab));
    optimizer_.choose(request.optimizer, net_);
    if (request.optimizer.empty()) generator_.emplace(net_, request.batch);
  }

  void pass() override {
    net_.forward({text_.data(), text_.data() + 1, request_.batch, request_.length});
    if constexpr (moe::trains<B>) net_.backward();
  }

  PartSeconds pass_by_part() override {
    backend_.watch(true, config.vocab, config.moe.experts);
    const auto start = std::chrono::steady_clock::now();
    pass();
    double unknown =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    PartSeconds parts = backend_.seconds();
    backend_.watch(false);
    for (const double seconds : parts) unknown -= seconds;
    parts[std::size_t(Part::other)] += unknown;
    return parts;
  }

  void update() override { optimizer_.step(); }

  void prefill() override {
    generator_->clear();
    generator_->feed({text_.data(), std::size_t(tokens())});
  }
  void decode() override {
    generator_->feed({text_.data() + (generator_->length() % request_.length) * request_.batch,
                      std::size_t(request_.batch)});
  }
  int window() const override { return generator_->length(); }

  std::size_t parameters() const override { return moe::parameter_count<Net>().total; }
  std::size_t parameter_bytes() const override { return Net::memory(1).params; }
  double minimal_bytes() const override {
    constexpr moe::MoeConfig mixture = config.moe;
    const double hidden =
        mixture.experts ? mixture.top_k * config.expert_hidden() : config.dense_hidden();
    const double layer = 6.0 * config.dim + (moe::is_gated(config.activation) ? 2 : 1) * hidden +
                         config.heads + (mixture.experts ? mixture.experts + 2 * mixture.top_k : 0);
    return 2.0 * double(parameters()) * sizeof(moe::Wide<B>) + double(optimizer_.state_bytes()) +
           layer * config.layers * tokens() * double(sizeof(moe::Value<B>));
  }

 private:
  int tokens() const { return request_.batch * request_.length; }

  Request request_;
  Backend backend_;
  Net net_;
  ModelOptimizer<Net> optimizer_;
  std::optional<moe::Generator<Net>> generator_;
  std::vector<std::int32_t> text_;
};

template <moe::ModelConfig C, class B>
std::unique_ptr<Model> make_transformer(const Request& request) {
  return std::make_unique<TransformerModel<C, B>>(request);
}

}  // namespace bench
