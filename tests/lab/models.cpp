#include <map>
#include <moe_lab/train.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::ModelConfig;
using moe::test::has;

namespace {

template <ModelConfig C>
moe::ParameterCount count() {
  return moe::parameter_count<moe::Transformer<C, moe::Cpu<float>>>();
}

/// Checks that two experts of half the width have as many parameters as one feed-forward; the
/// router is extra.
template <ModelConfig C>
void check_iso_active() {
  constexpr ModelConfig iso = lab::iso_active(C);
  const std::size_t routers =
      std::size_t(iso.moe.experts) * std::size_t(iso.dim) * std::size_t(iso.moe_layers());
  CHECK(routers > 0);
  CHECK(count<iso>().active == count<lab::dense(C)>().active + routers);
  CHECK(count<iso>().total > count<lab::dense(C)>().total + routers);
  CHECK(count<C>().active > count<iso>().active);
  // The work is the same except for the routers.
  const auto dense = moe::token_flops(lab::dense(C), 64), twin = moe::token_flops(iso, 64);
  CHECK(twin.forward() - twin.router == dense.forward());
  CHECK(twin.router == 2 * double(routers));
}

moe::StepRecord row(std::int64_t step) {
  moe::StepRecord row{.step = step, .tokens = 2'500'000 * step, .seconds = 65};
  row.tokens_per_second = 1234.4;
  row.loss.cross_entropy = 1.23456;
  return row;
}

}  // namespace

TEST_CASE("models: the parameter counts of the documents", "[counts]") {
  CHECK(count<lab::paper>().total == 79'059'840);
  CHECK(count<lab::paper>().active == 36'592'512);
  CHECK(count<lab::dense(lab::paper)>().total == 29'496'192);
  CHECK(count<lab::dense(lab::paper)>().active == 29'496'192);
  CHECK(count<lab::alternate(lab::paper)>().total == 54'278'016);
  CHECK(count<lab::alternate(lab::paper)>().active == 33'044'352);
  // By hand: the embedding; for each layer attention, two norms, router and experts; the last norm.
  CHECK(count<lab::paper>().total ==
        49152 * 384 + 6 * (4 * 384 * 384 + 2 * 384 + 8 * 384 + 8 * 2 * 384 * 1536) + 384);
  // The sizes that docs/reproduction.md measures.
  CHECK(count<lab::small>().total == 4'494'592);
  CHECK(count<lab::small>().active == 1'348'864);
  CHECK(count<lab::dense(lab::small)>().total == 820'480);
  CHECK(count<lab::iso_active(lab::small)>().total == 2'397'440);
  CHECK(count<lab::iso_active(lab::small)>().active == 824'576);
  CHECK(count<lab::tiny>().total == 312'192);
  CHECK(count<lab::tiny>().active == 181'120);
}

TEST_CASE("models: alternate has experts in layers 1, 3, 5", "[counts]") {
  constexpr ModelConfig c = lab::alternate(lab::paper);
  for (int layer = 0; layer < c.layers; ++layer) CHECK(c.is_moe(layer) == (layer % 2 == 1));
  for (int layer = 0; layer < c.layers; ++layer) CHECK(lab::paper.is_moe(layer));
  CHECK(lab::dense(lab::paper).moe_layers() == 0);
}

TEST_CASE("models: iso-active twins have the dense model's active parameters and routers",
          "[counts]") {
  check_iso_active<lab::tiny>();
  check_iso_active<lab::small>();
  check_iso_active<lab::alternate(lab::small)>();
  check_iso_active<lab::paper>();
  check_iso_active<lab::alternate(lab::paper)>();
}

TEST_CASE("models: 2,122 dense steps of llm-moe are the work of 1,903 of its mixture", "[flops]") {
  // llm-moe counts multiply-adds of forward passes: 8e14 in all, in steps of 24 sequences of 512
  // tokens.
  const double tokens = 24 * 512;
  const auto steps = [&](const ModelConfig& c) {
    return 8e14 / (moe::token_flops(c, 512).forward() / 2 * tokens);
  };
  const double dense = steps(lab::dense(lab::paper)), mixture = steps(lab::alternate(lab::paper));
  INFO(dense << " " << mixture);
  CHECK(std::abs(dense - 2122) < 1);
  CHECK(std::abs(mixture - 1903) < 1);
  // For all of training the ratio is the same within a percent.
  const double ratio = moe::token_flops(lab::alternate(lab::paper), 512).training() /
                       moe::token_flops(lab::dense(lab::paper), 512).training();
  CHECK(std::abs(ratio / (dense / mixture) - 1) < 0.01);
}

TEST_CASE("for_each_knob: every setting but the model and the seed, each once", "[settings]") {
  lab::Settings settings;
  std::map<const void*, int> knobs;
  std::map<std::string, int> flags;
  lab::Settings::for_each_knob([&](const char* flag, auto member, const auto&... rest) {
    ++knobs[&(settings.*member)];
    ++flags[flag];
    CHECK(std::string(flag).starts_with("--"));
    CHECK(std::string(std::get<sizeof...(rest) - 1>(std::tie(rest...))).size() > 5);
  });
  std::size_t fields = 0;
  const auto check = [&](std::string_view name, auto& field) {
    INFO(name);
    CHECK(knobs[&field] == (name == "model" || name == "seed" ? 0 : 1));
    ++fields;
  };
  moe::for_each_named_field(check, settings);
  CHECK(fields == knobs.size());  // no knob is of something else
  CHECK(flags.size() + 2 == fields);
  for (const auto& [flag, times] : flags) {
    INFO(flag);
    CHECK(times == 1);
  }
}

TEST_CASE("for_each_knob: the defaults lie within the bounds", "[settings]") {
  const lab::Settings settings;
  const std::string unset = "--steps --batch --length";  // presets give them
  lab::Settings::for_each_knob([&](const char* flag, auto member, const auto&... rest) {
    if constexpr (sizeof...(rest) == 3) {
      if (has(unset, flag)) return;
      INFO(flag);
      const auto bounds = std::tie(rest...);
      CHECK(double(settings.*member) >= double(std::get<0>(bounds)));
      CHECK(double(settings.*member) <= double(std::get<1>(bounds)));
    }
  });
}

TEST_CASE("model_options: room for a batch and for a validation window", "[settings]") {
  lab::Settings s{.batch = 3, .length = 20};
  s.dropout = 0.3, s.eval_length = 40, s.seed = 9;
  const moe::Options o = lab::model_options(s);
  CHECK(o.max_tokens == 60);
  for (const double p : {o.dropout.embedding, o.dropout.attention, o.dropout.attention_output,
                         o.dropout.expert, o.dropout.ffn_output, o.dropout.final})
    CHECK(p == 0.3);
  CHECK(o.seed == 9);
  s.eval_length = 61;
  CHECK(lab::model_options(s).max_tokens == 61);
}

TEST_CASE("Milestones: a line at 10, 25, 50, 75 and 100 %, and none elsewhere", "[milestones]") {
  for (const int steps : {5, 7, 10, 13, 99, 100, 101, 3000}) {
    INFO(steps);
    const lab::Milestones milestones(steps);
    std::map<int, std::int64_t> found;
    for (int step = 1; step <= steps; ++step) {
      const std::string line = milestones.at(row(step));
      if (line.empty()) continue;
      int percent = 0;
      REQUIRE(std::sscanf(line.c_str(), "milestone %d %%:", &percent) == 1);
      CHECK(found.count(percent) == 0);
      found[percent] = step;
      CHECK(has(line, ": " + std::to_string(step) + " updates"));
    }
    REQUIRE(found.size() == 5);
    // The first step by which that share is done.
    for (const int percent : {10, 25, 50, 75, 100}) {
      CHECK(found[percent] * 100 >= std::int64_t(steps) * percent);
      CHECK((found[percent] - 1) * 100 < std::int64_t(steps) * percent);
    }
  }
}

TEST_CASE("Milestones: the last step of a short run is 100 %", "[milestones]") {
  for (const int steps : {1, 2, 3, 4}) {
    INFO(steps);
    CHECK(has(lab::Milestones(steps).at(row(steps)), "milestone 100 %"));
  }
}

TEST_CASE("Milestones: the line says tokens, speed, loss and time", "[milestones]") {
  const std::string line = lab::Milestones(4).at(row(2));
  CHECK(line ==
        "milestone 50 %: 2 updates, 5.00 M tokens, 1234 tokens/s, loss 1.2346, 1:05 of training");
}
