#include <cmath>
#include <limits>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/checkpoint/hugging_face/export_config.hpp>
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/generate/generate.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/upcycle/upcycle.hpp>

#include "catch.hpp"

// Tests every option of every struct: values that make no sense are refused by name.

namespace {

using namespace moe;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double above_float = 1e39, below_float = 1e-50;  // infinite and 0 in float

constexpr ModelConfig dense{
    .vocab = 11, .dim = 8, .layers = 1, .heads = 2, .hidden = 8, .context = 8};
constexpr ModelConfig mixture = with_experts(dense, {.experts = 2, .top_k = 1, .hidden = 8});
using Model = Transformer<mixture, Cpu<float>>;

template <class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

/// Whether each of the values is refused with `name` in the sentence.
template <class Struct, class Number, class Use>
void refuses(const char* name, Number Struct::*member,
             const std::type_identity_t<std::vector<Number>>& bad, const Use& use) {
  for (const Number value : bad) {
    Struct options{};
    options.*member = value;
    const std::string text = message([&] { use(options); });
    INFO(name << " = " << value << ": " << text);
    CHECK(text.starts_with("moe: cannot "));
    CHECK(text.find(std::string(" with ") + name + " = ") != std::string::npos);
    CHECK(text.find("it must be ") != std::string::npos);
  }
}

const std::vector<double> no_weight{-1, not_a_number, infinity, above_float};
const std::vector<double> no_share{1, 1.5, -0.5, not_a_number, infinity};

}  // namespace

TEST_CASE("Options: each is checked before a model is built", "[options]") {
  Cpu<float> be(1);
  const auto build = [&](Options o) {
    if (o.max_tokens == 0) o.max_tokens = 8;
    Model model(be, o);
  };
  const auto as_given = [&](const Options& o) { Model model(be, o); };
  refuses("Options.max_tokens", &Options::max_tokens, {-1, -5, std::numeric_limits<int>::max()},
          as_given);
  refuses("Options.batch", &Options::batch, {0, -1, std::numeric_limits<int>::max()}, as_given);
  refuses("Options.norm_eps", &Options::norm_eps,
          {0, -1, not_a_number, infinity, below_float, above_float}, build);
  refuses("Options.rope_base", &Options::rope_base,
          {0, -1, 1e-50, not_a_number, infinity, above_float}, build);
  refuses("Options.router_noise", &Options::router_noise, no_weight, build);
  refuses("Options.balance_weight", &Options::balance_weight, no_weight, build);
  refuses("Options.z_weight", &Options::z_weight, no_weight, build);
  refuses("Options.entropy_weight", &Options::entropy_weight, {not_a_number, infinity, above_float},
          build);
  refuses("Options.init_std", &Options::init_std, no_weight, build);
  const auto with_dropout = [&](const DropoutRates& d) { build({.dropout = d}); };
  refuses("Options.dropout.embedding", &DropoutRates::embedding, no_share, with_dropout);
  refuses("Options.dropout.attention", &DropoutRates::attention, no_share, with_dropout);
  refuses("Options.dropout.attention_output", &DropoutRates::attention_output, no_share,
          with_dropout);
  refuses("Options.dropout.expert", &DropoutRates::expert, no_share, with_dropout);
  refuses("Options.dropout.ffn_output", &DropoutRates::ffn_output, no_share, with_dropout);
  refuses("Options.dropout.final", &DropoutRates::final, no_share, with_dropout);
}

TEST_CASE("Options: a value that only double can hold is refused for float models", "[options]") {
  Reference<double> be;
  const Options options{.max_tokens = 8, .norm_eps = 1e-50};
  CHECK_NOTHROW(Transformer<mixture, Reference<double>>(be, options));
  Cpu<bfloat16> narrow(1);
  CHECK(message([&] {
          Transformer<mixture, Cpu<bfloat16>>(narrow, options);
        }).starts_with("moe: cannot build a model with Options.norm_eps = 1e-50: it must be "));
}

TEST_CASE("AdamWOptions and MuonOptions: each is checked in the model's number type", "[options]") {
  Cpu<float> be(1);
  Model model(be, {.max_tokens = 8});
  const auto adamw = [&](const AdamWOptions& o) { AdamW optimizer(model, o); };
  refuses("AdamWOptions.lr", &AdamWOptions::lr, no_weight, adamw);
  refuses("AdamWOptions.beta1", &AdamWOptions::beta1, no_share, adamw);
  refuses("AdamWOptions.beta2", &AdamWOptions::beta2, no_share, adamw);
  refuses("AdamWOptions.eps", &AdamWOptions::eps,
          {0, -1, not_a_number, infinity, below_float, 1e-40, above_float}, adamw);
  refuses("AdamWOptions.weight_decay", &AdamWOptions::weight_decay,
          {-1, not_a_number, infinity, above_float}, adamw);
  refuses("AdamWOptions.clip", &AdamWOptions::clip, {0, -1, not_a_number, below_float}, adamw);
  refuses("AdamWOptions.expert_bias_rate", &AdamWOptions::expert_bias_rate, no_weight, adamw);
  refuses("AdamWOptions.skip_limit", &AdamWOptions::skip_limit, {0, -1}, adamw);
  const auto inner = [&](const AdamWRule& rest) { Muon optimizer(model, {.rest = rest}); };
  refuses("MuonOptions.rest.lr", &AdamWRule::lr, no_weight, inner);
  refuses("MuonOptions.rest.eps", &AdamWRule::eps, {below_float}, inner);
  const auto muon = [&](const MuonOptions& o) { Muon optimizer(model, o); };
  refuses("MuonOptions.lr", &MuonOptions::lr, no_weight, muon);
  refuses("MuonOptions.momentum", &MuonOptions::momentum, no_share, muon);
  refuses("MuonOptions.weight_decay", &MuonOptions::weight_decay, {-1, not_a_number, infinity},
          muon);
  refuses("MuonOptions.clip", &MuonOptions::clip, {0, -1, not_a_number, below_float}, muon);
  refuses("MuonOptions.expert_bias_rate", &MuonOptions::expert_bias_rate, no_weight, muon);
  refuses("MuonOptions.skip_limit", &MuonOptions::skip_limit, {0, -1}, muon);
  CHECK_NOTHROW(adamw({.clip = infinity}));
  const auto shared = [&](const OptimizerOptions& o) {
    Optimizer optimizer(model, o, ExpertBiasRule{}, AdamWRule{});
  };
  refuses("OptimizerOptions.clip", &OptimizerOptions::clip, {0, -1, not_a_number, below_float},
          shared);
  refuses("OptimizerOptions.skip_limit", &OptimizerOptions::skip_limit, {0, -1}, shared);
  refuses("ExpertBiasRule.rate", &ExpertBiasRule::rate, no_weight,
          [&](const ExpertBiasRule& o) { Optimizer optimizer(model, {}, o, AdamWRule{}); });
  refuses("AdamWRule.lr", &AdamWRule::lr, no_weight,
          [&](const AdamWRule& o) { Optimizer optimizer(model, {}, ExpertBiasRule{}, o); });
  refuses("MuonRule.lr", &MuonRule::lr, no_weight, [&](const MuonRule& o) {
    Optimizer optimizer(model, {}, ExpertBiasRule{}, o, AdamWRule{});
  });

  AdamW optimizer(model);
  for (const double factor : {not_a_number, infinity, -1.0})
    CHECK(message([&] { optimizer.step(factor); }).find("lr_factor") != std::string::npos);
  CHECK(optimizer.updates() == 0);
}

TEST_CASE("ScheduleOptions: the final share must be a share", "[options]") {
  for (const auto kind :
       {ScheduleKind::cosine, ScheduleKind::warmup_stable_decay, ScheduleKind::constant}) {
    refuses("ScheduleOptions.final", &ScheduleOptions::final, {-0.1, 1.1, not_a_number, infinity},
            [&](const ScheduleOptions& o) {
              Schedule{kind, 100, o}(1);
            });
    refuses("Schedule.steps", &Schedule::steps, {-1}, [&](Schedule s) {
      s.kind = kind;
      s(1);
    });
  }
}

TEST_CASE("SampleOptions: each is checked", "[options]") {
  const std::vector<float> logits{0, 1, 2};
  const auto choose = [&](const SampleOptions& o) {
    moe::sample_token(std::span<const float>(logits), o, 0);
  };
  refuses("SampleOptions.tokens", &SampleOptions::tokens, {-1}, choose);
  refuses("SampleOptions.temperature", &SampleOptions::temperature, {-1, not_a_number, infinity},
          choose);
  refuses("SampleOptions.top_k", &SampleOptions::top_k, {-1}, choose);
  refuses("SampleOptions.top_p", &SampleOptions::top_p, {0, -1, 1.5, not_a_number}, choose);
  refuses("SampleOptions.min_p", &SampleOptions::min_p, {-1, 1.5, not_a_number}, choose);
  refuses("SampleOptions.vocab", &SampleOptions::vocab, {-1}, choose);
}

TEST_CASE("UpcycleOptions: each is checked, of the optimizer's state too", "[options]") {
  Cpu<float> be(1);
  Transformer<dense, Cpu<float>> from(be, {.max_tokens = 32});
  Model to(be, {.max_tokens = 32});
  AdamW from_optimizer(from);
  AdamW to_optimizer(to);
  const auto grow = [&](const UpcycleOptions& o) { upcycle(from, to, o); };
  const auto grow_state = [&](const UpcycleOptions& o) {
    upcycle_state(from, from_optimizer, to, to_optimizer, o);
  };
  for (const auto& [name, member] :
       {std::pair{"UpcycleOptions.router_std", &UpcycleOptions::router_std},
        std::pair{"UpcycleOptions.noise", &UpcycleOptions::noise}}) {
    refuses(name, member, no_weight, grow);
    refuses(name, member, {not_a_number}, grow_state);
  }
  refuses("UpcycleOptions.drop", &UpcycleOptions::drop, {-0.1, 1.1, not_a_number}, grow);
}

TEST_CASE("files and backends: their options are checked", "[options]") {
  const auto check_export = [](const HuggingFaceExport& o) { moe::detail::check_export(o, 11); };
  refuses("HuggingFaceExport.shard_bytes", &HuggingFaceExport::shard_bytes, {0}, check_export);
  for (const int token : {-1, 11}) {
    CHECK(message([&] { check_export({.bos_token = token}); }).find("bos_token = ") !=
          std::string::npos);
    CHECK(message([&] { check_export({.eos_token = token}); }).find("eos_token = ") !=
          std::string::npos);
  }
  refuses("TokenFileOptions.vocab", &TokenFileOptions::vocab, {-1},
          [](const TokenFileOptions& o) { TokenFile("nowhere.bin", o); });
  for (const int threads : {-1, -100, 100'000, std::numeric_limits<int>::max()})
    CHECK(message([&] { Cpu<float> be(threads); }).find("threads: it must be from 1 to ") !=
          std::string::npos);
}

TEST_CASE("windows: sizes whose product overflows are refused, not wrapped", "[options]") {
  const std::vector<std::int32_t> text(100);
  const int huge = 1 << 20;
  for (const int sequences : {0, -1, huge})
    for (const int length : {0, -1, huge}) {
      const auto refused = [&](const auto& make) {
        return message(make).starts_with("moe: cannot cut ");
      };
      CHECK(refused([&] { RandomWindows(text, sequences, length, 1); }));
      CHECK(refused([&] { DisjointWindows(text, sequences, length); }));
      CHECK(refused([&] { ShuffledWindows(std::span(text), sequences, length, 1); }));
    }
}

// Batches

TEST_CASE("Transformer: a pass without targets has no loss and trains on nothing", "[options]") {
  Cpu<float> be(1);
  Model model(be, {.max_tokens = 8});
  AdamW optimizer(model);
  const std::vector<std::int32_t> text{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const double first = model.forward({text.data(), text.data() + 1, 1, 8}).cross_entropy;
  const Loss loss = model.forward({text.data() + 1, nullptr, 1, 8});
  CHECK(std::isnan(loss.cross_entropy));
  CHECK(std::isnan(loss.total));
  CHECK(std::isnan(loss.accuracy));
  CHECK(loss.tokens == 0);
  CHECK(std::isfinite(loss.balance));
  CHECK(model.logits().size() == 8 * 11);
  CHECK(*model.loss_not_finite() == 0);
  CHECK(message([&] { model.backward(); }).find("Batch.targets") != std::string::npos);
  const auto passes = model.passes();
  CHECK(message([&] {
          model.forward_backward({text.data(), nullptr, 1, 8});
        }).starts_with("moe: cannot train on a batch: it has no targets"));
  CHECK(model.passes() == passes);
  CHECK(*model.loss_not_finite() == 0);
  CHECK_FALSE(optimizer.step().skipped);
  CHECK(std::isfinite(model.forward_backward({text.data(), text.data() + 1, 1, 8}).total));
  CHECK(first > 0);
}

TEST_CASE("Transformer: a batch that is refused changes nothing", "[options]") {
  Cpu<float> be(1);
  Model model(be, {.max_tokens = 16}), same(be, {.max_tokens = 16});
  const std::vector<std::int32_t> text{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<std::int32_t> bad{1, 2, 3, 4, 5, 6, 7, 11, -1};
  const Batch good{text.data(), text.data() + 1, 1, 8};
  model.forward(good);
  same.forward(good);
  const Batch refused[] = {{nullptr, text.data(), 1, 8},
                           {text.data(), text.data() + 1, 0, 8},
                           {text.data(), text.data() + 1, 1, 0},
                           {text.data(), text.data() + 1, -2, -4},
                           {text.data(), text.data() + 1, 3, 8},
                           {text.data(), text.data() + 1, 1, 9},
                           {text.data(), text.data() + 1, 1 << 29, 8},  // 2^32, which is 0 in int
                           {bad.data(), text.data() + 1, 1, 8},
                           {text.data(), bad.data() + 1, 1, 8}};
  for (const Batch& batch : refused) {
    CHECK(message([&] { model.forward(batch); }).starts_with("moe: "));
    CHECK(message([&] { model.forward_backward(batch); }).starts_with("moe: "));
  }
  CHECK(model.passes() == same.passes());
  model.backward();
  same.backward();
  const auto& a = model.grads().token_embedding.weight;
  const auto& b = same.grads().token_embedding.weight;
  CHECK(std::equal(a.data, a.data + a.size, b.data));
}

TEST_CASE("Transformer: logits and loads that are not there are refused", "[options]") {
  Cpu<float> be(1);
  Model model(be, {.max_tokens = 8});
  CHECK(message([&] { model.logits(); }).starts_with("moe: cannot give logits: "));
  CHECK(message([&] { model.expert_load(0); }).find("no pass of it was collected") !=
        std::string::npos);
  const std::vector<std::int32_t> text{1, 2, 3, 4};
  model.forward({text.data(), nullptr, 1, 4});
  for (const int layer : {-1, 1, 100}) {
    CHECK(message([&] { model.expert_load(layer); }).starts_with("moe: cannot tell the routing"));
    CHECK(
        message([&] { model.router_entropy(layer); }).starts_with("moe: cannot tell the routing"));
  }
  CHECK(model.expert_load(0).size() == 2);
  Generator generator(model);
  generator.feed(text);
  CHECK(message([&] { model.logits(); }).starts_with("moe: cannot give logits: "));
}
