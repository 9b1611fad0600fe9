#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <moe/io/json.hpp>
#include <moe/io/safetensors.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "skip.hpp"

namespace moe::test {

/// The folder of golden values. If there is none, prints a line that says so and returns "".
inline std::string fixture_folder() {
  if (const char* folder = std::getenv("MOE_FIXTURE_DIR"); folder && *folder) return folder;
  skip("MOE_FIXTURE_DIR is not set, golden values of PyTorch are not compared");
  return "";
}

/// The name that the fixtures give a leaf with our `path`. `matrix` is the expert in a stack of
/// experts.
inline std::string fixture_name(std::string path, int matrix) {
  const auto replace = [&](const std::string& from, const std::string& to) {
    if (const auto at = path.find(from); at != std::string::npos) path.replace(at, from.size(), to);
  };
  replace("token_embedding", "tok_emb");
  replace("position_embedding", "pos_emb");
  replace("ffn.experts.", "moe.experts." + std::to_string(matrix) + ".");
  replace("ffn.router", "moe.router");
  replace("_proj", "");
  return path;
}

/// Largest difference over the largest reference value. A tensor that is zero in exact arithmetic
/// holds rounding only, in the reference too: its yardstick is `model`, the largest value of all
/// tensors of its kind. That is the case of the key biases' gradients (the softmax does not see
/// them), 1e-17 in the fixtures.
class Difference {
 public:
  explicit Difference(double model = 0) : model_(model) {}
  void add(double value, double reference) {
    worst_ = std::isfinite(value) ? std::max(worst_, std::abs(value - reference)) : INFINITY;
    largest_ = std::max(largest_, std::abs(reference));
  }
  double relative() const {
    return worst_ == 0 ? 0 : worst_ / (largest_ < 1e-13 * model_ ? model_ : largest_);
  }

 private:
  double model_, worst_ = 0, largest_ = 0;
};

/// Calls f(fixture tensor name, values, size) for every matrix of every leaf.
template <class Tree, class F>
void for_each_fixture_tensor(Tree& tree, const std::string& prefix, const F& f) {
  for_each_named_leaf(
      [&](const std::string& path, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        const std::size_t size = Leaf::size / std::size_t(Leaf::count);
        for (int i = 0; i < Leaf::count && size > 0; ++i)
          f(prefix + fixture_name(path, i), leaf.data + std::size_t(i) * size, size);
      },
      "", tree);
}

struct FixtureReport {
  double worst = 0;
  std::string where;
  void add(const std::string& what, double difference) {
    if (!(difference <= worst)) worst = difference, where = what;
  }
};

/// Runs the fixture's four steps and compares everything it holds.
template <ModelConfig C, class B>
FixtureReport compare_with_fixture(const std::string& path) {
  using Model = Transformer<C, B>;
  using T = Value<B>;
  const Safetensors file{path};
  const Json config = parse_json(file.metadata().at("config"), path);
  const auto number = [&](const char* name) { return config.at(name).as_double(name); };
  FixtureReport report;

  B be;
  Model model{be,
              {.max_tokens = 3 * C.context,
               .norm_eps = number("eps"),
               .rope_base = number("rope_base"),
               .balance_weight = number("lb_weight"),
               .z_weight = number("z_weight"),
               .entropy_weight = number("entropy_weight")}};
  std::size_t read = 0;
  for_each_fixture_tensor(model.params(), "param.",
                          [&](const std::string& name, T* data, std::size_t size) {
                            file.read_as_into(name, data, size);
                            ++read;
                          });
  std::size_t held = 0;
  for (const std::string& name : file.names()) held += name.starts_with("param.");
  REQUIRE(read == held);

  const Json& o = config.at("optimizer");
  const auto option = [&](const char* name) { return o.at(name).as_double(name); };
  const bool muon = o.at("name").as_string("name") == "muon";
  const AdamWOptions adamw{.lr = option(muon ? "adamw_lr" : "lr"),
                           .beta1 = option("beta1"),
                           .beta2 = option("beta2"),
                           .eps = option("eps"),
                           .weight_decay = option("weight_decay"),
                           .clip = number("clip")};
  const auto train = [&](auto& optimizer) {
    for (int step = 0; step < 4; ++step) {
      const std::string at = "step." + std::to_string(step) + ".";
      std::vector<std::int32_t> tokens, targets;
      for (auto [name, to] : {std::pair{"tokens", &tokens}, std::pair{"targets", &targets}})
        for (const std::int64_t token : file.read<std::int64_t>(at + name))
          to->push_back(std::int32_t(token));
      const Loss loss = model.forward({tokens.data(), targets.data(), 3, C.context});
      const auto scalar = [&](const char* name, double value) {
        Difference d;
        d.add(value, file.read<double>(at + name).at(0));
        report.add(at + name, d.relative());
      };
      scalar("ce", loss.cross_entropy);
      scalar("load_balance", loss.balance);
      scalar("z", loss.z);
      scalar("entropy", loss.entropy);
      scalar("total", loss.total);
      if (step == 0) {
        Difference logits;
        const auto want = file.read<double>("logits");
        const auto got = model.logits();
        REQUIRE(got.size() == want.size());
        for (std::size_t i = 0; i < want.size(); ++i) logits.add(double(got[i]), want[i]);
        report.add("logits", logits.relative());
        if constexpr (C.moe_layers() > 0)
          for (int layer = 0; layer < C.moe_layers(); ++layer) {
            const auto experts =
                file.read<std::int64_t>("routing." + std::to_string(layer) + ".experts");
            const auto& chosen = model.cache().blocks.template of<true>(layer).ffn.router.expert;
            constexpr int top_k = C.moe.top_k;  // Clang 14 crashes on such members in code
            REQUIRE(experts.size() == std::size_t(chosen.count) * std::size_t(top_k));
            for (std::size_t i = 0; i < experts.size(); ++i)
              if (chosen.data[i] != experts[i]) report.add("routing", INFINITY);
          }
      }
      model.backward();
      double largest_gradient = 0;
      for (const std::string& name : file.names())
        if (name.starts_with("grad."))
          for (const double g : file.read<double>(name))
            largest_gradient = std::max(largest_gradient, std::abs(g));
      if (step == 0)
        for_each_fixture_tensor(model.grads(), "grad.",
                                [&](const std::string& name, const T* data, std::size_t size) {
                                  Difference d(largest_gradient);
                                  const auto want = file.read<double>(name);
                                  REQUIRE(want.size() == size);
                                  for (std::size_t i = 0; i < size; ++i)
                                    d.add(double(data[i]), want[i]);
                                  report.add(name, d.relative());
                                });
      scalar("grad_norm", optimizer.step().grad_norm);
    }
  };
  if (muon) {
    Muon optimizer{model,
                   {.lr = option("lr"),
                    .momentum = option("momentum"),
                    .weight_decay = option("weight_decay"),
                    .scale = parse_enum<MuonScale>("scale", o.at("scale").as_string("scale")),
                    .rest = adamw.rule(),
                    .clip = adamw.clip}};
    train(optimizer);
  } else {
    AdamW optimizer{model, adamw};
    train(optimizer);
  }
  for_each_fixture_tensor(model.params(), "param_after.",
                          [&](const std::string& name, const T* data, std::size_t size) {
                            Difference d;
                            const auto want = file.read<double>(name);
                            for (std::size_t i = 0; i < size; ++i) d.add(double(data[i]), want[i]);
                            report.add(name, d.relative());
                          });
  return report;
}

// The configurations of the fixtures.
inline constexpr ModelConfig shakespeare_moe{.vocab = 65,
                                             .dim = 32,
                                             .layers = 2,
                                             .heads = 4,
                                             .hidden = 48,
                                             .context = 16,
                                             .bias = true,
                                             .norm = Norm::layer,
                                             .position = Position::learned,
                                             .activation = Activation::gelu,
                                             .moe = {.experts = 4, .top_k = 2}};
constexpr ModelConfig changed(ModelConfig c, auto change) {
  change(c);
  return c;
}
inline constexpr ModelConfig dense_gpt =
    changed(shakespeare_moe, [](ModelConfig& c) { c.moe = {}; });
inline constexpr ModelConfig mixtral_style{.vocab = 65,
                                           .dim = 32,
                                           .layers = 2,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .hidden = 48,
                                           .context = 16,
                                           .moe = {.experts = 4, .top_k = 2}};
inline constexpr ModelConfig dense_llama =
    changed(mixtral_style, [](ModelConfig& c) { c.moe = {}; });
inline constexpr ModelConfig simple_moe = changed(mixtral_style, [](ModelConfig& c) {
  c.kv_heads = 0;
  c.scale_embedding = true;
  c.position = Position::rope_interleaved;
  c.activation = Activation::silu;
});
inline constexpr ModelConfig alternate_layers = changed(mixtral_style, [](ModelConfig& c) {
  c.kv_heads = 0;
  c.layers = 4;
  c.activation = Activation::silu;
  c.moe.top_k = 1;
  c.moe.every = 2;
  c.moe.offset = 1;
  c.moe.renormalize = false;
});

/// Compares one backend with every model fixture.
template <class B>
void check_fixtures(double tolerance) {
  const std::string folder = fixture_folder();
  if (folder.empty()) return;
  const auto check = [&]<ModelConfig C>(const char* name) {
    const FixtureReport r = compare_with_fixture<C, B>(folder + "/" + name + ".safetensors");
    INFO(name << ": largest relative difference " << r.worst << " at " << r.where);
    std::printf("%-18s largest relative difference %.2e at %s\n", name, r.worst, r.where.c_str());
    CHECK(r.worst <= tolerance);
  };
  check.template operator()<shakespeare_moe>("shakespeare_moe");
  check.template operator()<dense_gpt>("dense_gpt");
  check.template operator()<simple_moe>("simple_moe");
  check.template operator()<mixtral_style>("mixtral_style");
  check.template operator()<dense_llama>("dense_llama");
  check.template operator()<alternate_layers>("alternate_layers");
}

}  // namespace moe::test
