#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/muon.hpp>
#include <moe_lab/plan.hpp>

#include "../../lab/programs/scale_model/emit.hpp"
#include "catch.hpp"

namespace {

using namespace scale;

bool near(double value, double expected, double relative = 1e-12) {
  return std::abs(value - expected) <= relative * std::abs(expected);
}

/// A device whose figures are easy to compute with.
Request simple_request() {
  Request r;
  r.budget = 4;
  r.device = {"mine", 1e12, 80e9, 2.0};
  r.mfu = 0.5;
  r.dim = 384;
  return r;
}

TEST_CASE("Law: the optimum is that of the closed form", "[scale]") {
  // G = (0.5 * 200 / (0.5 * 100))^(1 / (0.5 + 0.5)) = 2,  C / 6 = 1e12,
  // N = 2 * (1e12)^0.5 = 2e6,  D = 1e12 / 2e6 = 5e5
  const Law law{"test", 1, 200, 100, 0.5, 0.5};
  const Optimum best = optimum(law, 6e12);
  CHECK(near(best.parameters, 2e6));
  CHECK(near(best.tokens, 5e5));
  // 1 + 200 / sqrt(2e6) + 100 / sqrt(5e5) = 1 + 0.1414213562 + 0.1414213562
  CHECK(near(law.loss(2e6, 5e5), 1.2828427124746190));
  for (const double factor : {0.5, 0.9, 1.1, 2.0})
    CHECK(law.loss(2e6 * factor, 5e5 / factor) > law.loss(2e6, 5e5));
  CHECK(near(optimal_parameters(law, 5e5), 2e6));
}

TEST_CASE("Law: the published and the refitted constants disagree about Chinchilla as published",
          "[scale]") {
  const auto tokens_per_parameter = [](const Law& law) {
    const Optimum best = optimum(law, 6 * 70e9 * 1.4e12);
    return best.tokens / best.parameters;
  };
  CHECK(std::abs(tokens_per_parameter(besiroglu) - 18) < 1);
  CHECK(tokens_per_parameter(hoffmann) > 60);
  for (const Law& law : {besiroglu, hoffmann}) {
    const Optimum best = optimum(law, 1e20);
    CHECK(near(6 * best.parameters * best.tokens, 1e20));
    CHECK(near(optimal_parameters(law, best.tokens), best.parameters, 1e-9));
  }
}

TEST_CASE("Loss range: low to high, the mixture between dense models of two sizes", "[scale]") {
  const Law laws[] = {besiroglu, hoffmann};
  const LossRange range = loss_range(laws, 1e8, 4e8, 2e9);
  CHECK(near(range.as_active, besiroglu.loss(1e8, 2e9)));
  CHECK(near(range.as_geometric_mean, besiroglu.loss(2e8, 2e9)));  // sqrt(1e8 * 4e8)
  CHECK(near(range.expected, (range.as_active + range.as_geometric_mean) / 2));
  CHECK(range.low == std::min(range.as_geometric_mean, hoffmann.loss(2e8, 2e9)));
  CHECK(range.high == std::max(range.as_active, hoffmann.loss(1e8, 2e9)));
  CHECK(range.low < range.expected);
  CHECK(range.expected < range.high);
  const LossRange one = loss_range({laws, 1}, 1e8, 4e8, 2e9);
  CHECK(one.low == one.as_geometric_mean);
  CHECK(one.high == one.as_active);
  const LossRange dense = loss_range({laws, 1}, 1e8, 1e8, 2e9);
  CHECK(near(dense.low, dense.high));
}

constexpr moe::ModelConfig exp5 = ladder(6, 49152, 512, 8, 2);
constexpr moe::ModelConfig tiny = ladder(1, 256, 64, 2, 1);
constexpr moe::ModelConfig dense = ladder(3, 2048, 32, 0, 0);

template <moe::ModelConfig c>
void check_against_the_library(int sequences) {
  using Model = moe::Transformer<c, moe::Reference<float>>;
  const lab::Plan plan = lab::make_plan<Model, moe::Muon<Model>>(sequences, c.context);
  const Parameters p = count(c);
  CHECK(std::size_t(p.total) == plan.parameters.total);
  CHECK(std::size_t(p.active) == plan.parameters.active);
  CHECK(std::size_t(p.embedding) == plan.parameters.embedding);
  const Memory m = memory(c, sequences * c.context, {});
  // The library needs a little more: it aligns each leaf to 256 bytes and has partial sums for its
  // norms.
  CHECK(near(m.weights, double(plan.memory.params), 0.01));
  CHECK(near(m.gradients, double(plan.memory.grads), 0.01));
  CHECK(near(m.optimizer, double(plan.memory.optimizer), 0.01));
  CHECK(near(m.activations, double(plan.memory.cache + plan.memory.scratch), 0.01));
}

TEST_CASE("Shapes: parameters and memory are what the library counts", "[scale]") {
  check_against_the_library<exp5>(2);
  check_against_the_library<exp5>(16);
  check_against_the_library<tiny>(2);
  check_against_the_library<dense>(4);
  check_against_the_library<ladder(2, 4096, 128, 16, 4)>(8);
}

TEST_CASE("Shapes: the sixth rung is exp5", "[scale]") {
  CHECK(exp5.dim == 384);
  CHECK(exp5.layers == 6);
  CHECK(exp5.expert_hidden() == 1536);
  // 49152 * 384 + 6 * (4 * 384^2 + 2 * 384 + 8 * 384 + 8 * 2 * 384 * 1536) + 384
  CHECK(count(exp5).total == 79'059'840);
  CHECK(count(exp5).active == 36'592'512);  // less 6 * 6 experts of 2 * 384 * 1536
  for (int rung = 1; rung <= rungs; ++rung) {
    const moe::ModelConfig c = ladder(rung, 256, 64, 8, 2);
    CHECK(c.dim % 64 == 0);
    CHECK(c.dim % c.heads == 0);
    CHECK(c.head_dim() == 64);
    CHECK(count(c).active <= count(c).total);
    CHECK(count(c).total > 0);
  }
}

TEST_CASE("Shapes: the memory sum by hand", "[scale]") {
  // d 64, two layers, two experts of which one is used, h 256, V 256, T 64.
  // embedding 256 * 64 = 16384; a layer has 4 * 64^2 + 2 * (2 * 64 * 256) = 81920 hidden numbers,
  // 2 * 64 gains and 2 * 64 of the router; the last norm 64.
  CHECK(count(tiny).hidden == 2 * 81'920);
  CHECK(count(tiny).total == 16'384 + 2 * (81'920 + 128 + 128) + 64);  // 180800
  CHECK(count(tiny).active == 180'800 - 2 * 32'768);
  const Memory m = memory(tiny, 128, {});
  CHECK(m.weights == 4 * 180'800);
  CHECK(m.gradients == 4 * 180'800);
  // Momentum of 163840, two moments of 16960, four experts at a time: 4 * (2 * 64 * 256 + 2 * 64^2)
  CHECK(m.optimizer == 4 * (163'840 + 2 * 16'960 + 163'840) + 60 * 180'800 / 1024.0);  // + tables
  // Kept of a token: 2 * (6 * 64 + 1 + 2 + 256 + 2 * 2 + 5 + 4) + 64 + 4 = 1380; the stream 64;
  // rotation 2 * 64 * 64; the head's 2048 rows of logits and 2 * 64 a token outweigh a block.
  CHECK(m.activations == 4 * (128 * (1380 + 64) + 8'192 + 2048 * 256 + 128 * 128));
  CHECK(m.total() == m.weights + m.gradients + m.optimizer + m.activations);
  const Memory half = memory(tiny, 128, {.weight = 2, .gradient = 2, .state = 2, .activation = 2});
  CHECK(half.total() == m.total() / 2);
}

TEST_CASE("Plan: hours, operations, tokens, updates and cost by hand", "[scale]") {
  const Plan p = make_plan(simple_request());
  // $4 at $2 an hour: 2 hours; 7200 s * 1e12 * 0.5 = 3.6e15 operations.
  // One token, forward: projections 8 * 384^2 * 6 = 7077888, attention 2 * 513 * 384 * 6 = 2363904,
  // experts 4 * 2 * 384 * 1536 * 6 = 28311552, router 2 * 384 * 8 * 6 = 36864, head
  // 2 * 384 * 49152 = 37748736; training 3 * 73175040 + 3.5 * 2363904 = 227798784.
  CHECK(p.flops_of_token == 227'798'784);
  // 3.6e15 / 227798784 = 15803420; an update 4 sqrt(15803420) / 512 = 31.06 -> 32 sequences;
  // 15803420 / 16384 = 964.56 updates.
  CHECK(p.sequences == 32);
  CHECK(p.accumulation == 1);
  CHECK(p.batch_tokens == 16'384);
  CHECK(p.steps == 964);
  CHECK(p.tokens == 964 * 16'384);
  CHECK(near(p.flops, 964.0 * 16'384 * 227'798'784));
  CHECK(near(p.tokens_per_second, 0.5e12 / 227'798'784));
  CHECK(near(p.hours, p.flops / 0.5e12 / 3600));
  CHECK(near(p.cost, 2 * p.hours));
  CHECK(p.cost <= 4);
  CHECK(p.cost > 3.99);
  CHECK(p.parameters.total == 79'059'840);
  CHECK(p.fits);
  CHECK(near(p.loss.as_active, besiroglu.loss(36'592'512, double(p.tokens))));
}

TEST_CASE("Plan: several devices share the hours, not the money", "[scale]") {
  Request r = simple_request();
  const Plan one = make_plan(r);
  r.gpus = 4;
  const Plan four = make_plan(r);
  CHECK(four.tokens == one.tokens);
  CHECK(near(four.hours, one.hours / 4));
  CHECK(near(four.cost, one.cost));
  CHECK(near(four.device_hours(), one.device_hours()));
}

TEST_CASE("Plan: a measured speed takes the place of the share of the peak", "[scale]") {
  Request r = simple_request();
  r.mfu.reset();
  r.tokens_per_second = 1000;
  const Plan p = make_plan(r);
  CHECK(near(p.mfu, 1e3 * 227'798'784 / 1e12));
  CHECK(near(p.tokens_per_second, 1000));
  CHECK(near(double(p.tokens), 7200 * 1000, 0.01));
  CHECK(std::string(p.mfu_source) == "measured");
  r.dim = 0;  // the largest model for which 7.2 M tokens are enough, or the smallest
  const Plan free = make_plan(r);
  CHECK(free.config.dim == 64);
  r.budget = 400;
  CHECK(double(make_plan(r).parameters.active) <= optimal_parameters(r.law, 720e6));
}

TEST_CASE("Plan: 4 sqrt(tokens) an update, in powers of two, at least a hundred updates",
          "[scale]") {
  CHECK(batch_rule(1e10, 512) == 1024);  // 4e5 / 512 = 781 = 2^9.6
  CHECK(batch_rule(1e6, 64) == 64);      // 4000 / 64 = 62.5 = 2^5.97
  CHECK(batch_rule(64e3, 64) == 8);      // 2^3.98, but 1000 sequences in all
  CHECK(batch_rule(100, 64) == 1);
  Request r = simple_request();
  r.batch_tokens = 65'536;
  CHECK(make_plan(r).batch_tokens == 65'536);
  CHECK(make_plan(r).accumulation == 4);
  r.sequences = 8;
  CHECK(make_plan(r).batch_tokens == 65'536);
  CHECK(make_plan(r).accumulation == 16);
}

TEST_CASE("Plan: the assumed share of the peak", "[scale]") {
  const Device h100 = find_device("h100"), a100 = find_device("a100"), cpu = find_device("cpu");
  CHECK(near(assumed_mfu(h100, 1152), 0.125));  // half of 0.25
  CHECK(near(assumed_mfu(h100, 384), 0.025));   // 0.25 / (1 + 3^2)
  CHECK(near(assumed_mfu(a100, 384), 0.25 / (1 + 9 * 312 / 989.5)));
  CHECK(near(assumed_mfu(cpu, 128), 0.325));
  for (const Device& device : devices) {
    for (int rung = 1; rung < rungs; ++rung)
      CHECK(assumed_mfu(device, 64 * rung) < assumed_mfu(device, 64 * (rung + 1)));
    CHECK(assumed_mfu(device, 64 * rungs) < 0.66);
  }
}

TEST_CASE("Plan: more money never gives a higher loss or a smaller model", "[scale]") {
  for (const Device& device : devices) {
    for (const bool given : {false, true}) {
      Request r;
      r.device = device;
      if (given) r.mfu = 0.3;
      double loss = 1e9;
      std::int64_t active = 0;
      for (r.budget = 0.01; r.budget < 1e5; r.budget *= 1.1) {
        const Plan p = make_plan(r);
        CHECK(p.loss.expected <= loss);
        CHECK(p.parameters.active >= active);
        CHECK(p.cost <= r.budget);
        CHECK(p.cost > 0.98 * r.budget);
        CHECK(p.steps >= least_updates);
        CHECK(p.loss.low <= p.loss.expected);
        CHECK(p.loss.expected <= p.loss.high);
        loss = p.loss.expected, active = p.parameters.active;
      }
    }
  }
}

TEST_CASE("Plan: the model is near the law's optimum for the work it gets", "[scale]") {
  Request r;
  r.device = find_device("h100");
  r.mfu = 0.3;
  for (const double budget : {5.0, 50.0, 500.0, 5000.0}) {
    r.budget = budget;
    const Plan p = make_plan(r);
    const double share = double(p.parameters.active) / p.closed_form.parameters;
    CHECK(share > 0.5);
    CHECK(share < 1.5);
    CHECK(double(p.parameters.active) <= optimal_parameters(r.law, double(p.tokens) * 1.01));
  }
}

TEST_CASE("Plan: what does not fit says what to do", "[scale]") {
  Request r = simple_request();
  r.sequences = 32;
  r.device.memory = 2e9;  // 1.8 GB usable: 1.072 for weights, gradients and optimizer
  Plan p = make_plan(r);
  CHECK(!p.fits);
  CHECK(p.advice.find("--sequences 8") != std::string::npos);  // 0.675 GB; 16 need 1.318
  r.sequences = 8;
  p = make_plan(r);
  CHECK(p.fits);
  CHECK(p.advice.empty());
  r.sequences = 0;
  CHECK(make_plan(r).sequences == 8);
  CHECK(make_plan(r).accumulation == 4);
  r.device.memory = 1e9;
  p = make_plan(r);
  CHECK(p.sequences == 1);
  CHECK(!p.fits);
  CHECK(p.advice.find("--experts") != std::string::npos);
  r.device.memory = 1e6;
  CHECK(make_plan(r).advice.find("more memory") != std::string::npos);
}

TEST_CASE("Compare: all devices, the least expected loss first; given figures hold for one device",
          "[scale]") {
  Request r;
  r.budget = 5;
  r.device = find_device("h100");
  auto offers = compare(r);
  REQUIRE(offers.size() == std::size(devices));
  for (std::size_t i = 1; i < offers.size(); ++i)
    CHECK(offers[i - 1].plan->loss.expected <= offers[i].plan->loss.expected);
  CHECK(offers.front().device.name != "h100");
  r.device.price = 0.01;
  offers = compare(r);
  CHECK(offers.front().device.name == "h100");
  for (const Offer& offer : offers)
    CHECK((offer.device.price == 0.01) == (offer.device.name == "h100"));
  r.budget = 1e-6;  // too little everywhere
  offers = compare(r);
  CHECK(offers.front().plan.has_value() == false);
  r.budget = 1e-4;  // enough at this price, too little elsewhere
  offers = compare(r);
  CHECK(offers.front().device.name == "h100");
  CHECK(offers.front().plan.has_value());
  CHECK(!offers.back().plan.has_value());
  CHECK(offers.back().reason.find("--budget") != std::string::npos);
}

TEST_CASE("Requests that make no sense are refused with the option's name", "[scale]") {
  const auto refusal = [](auto change) {
    Request r = simple_request();
    change(r);
    try {
      make_plan(r);
    } catch (const moe::Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto names = [](const std::string& message, const char* option) {
    return message.rfind("moe: cannot plan", 0) == 0 && message.find(option) != std::string::npos;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {0.0, -1.0, nan, 1e10})
    CHECK(names(refusal([&](Request& r) { r.budget = bad; }), "--budget"));
  for (const double bad : {0.0, -0.1, 1.01, nan})
    CHECK(names(refusal([&](Request& r) { r.mfu = bad; }), "--mfu"));
  CHECK(names(refusal([](Request& r) { r.top_k = 9; }), "--top-k 9"));
  CHECK(names(refusal([](Request& r) { r.top_k = 0; }), "--top-k 0"));
  CHECK(names(refusal([](Request& r) { r.experts = -1; }), "--experts"));
  CHECK(names(refusal([](Request& r) { r.context = 0; }), "--context"));
  CHECK(names(refusal([](Request& r) { r.vocab = 1; }), "--vocab"));
  CHECK(names(refusal([](Request& r) { r.dim = 100; }), "--dim"));
  CHECK(names(refusal([](Request& r) { r.gpus = 0; }), "--gpus"));
  CHECK(names(refusal([](Request& r) { r.device.price = 0; }), "--price"));
  CHECK(names(refusal([](Request& r) { r.device.peak = 0; }), "--peak-tflops"));
  CHECK(names(refusal([](Request& r) { r.device.memory = -1; }), "--memory-gb"));
  CHECK(names(refusal([](Request& r) { r.law.alpha = 0; }), "--law-alpha"));
  CHECK(names(refusal([](Request& r) { r.bytes.state = 0; }), "--bytes-state"));
  CHECK(names(refusal([](Request& r) { r.batch_tokens = 1e12; }), "--batch-tokens"));
  CHECK(names(refusal([](Request& r) { r.tokens_per_second = 1e9; }), "--tokens-per-second"));
  CHECK(names(refusal([](Request& r) { r.budget = 1e-6; }), "--budget"));
  CHECK_THROWS_AS(find_device("tpu"), moe::Error);
  CHECK(refusal([](Request&) {}) == "no error");
}

TEST_CASE("Emitted header: the plan's numbers, and a command that cannot leave its comment",
          "[scale]") {
  const Request r = simple_request();
  const Plan p = make_plan(r);
  const std::string text = header(p, r, "scale_model --emit a\nint x;\\");
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  CHECK(text.rfind("#pragma once\n// Written by scale_model: ", 0) == 0);
  CHECK(has("//   scale_model --emit a?int x;?\n"));
  CHECK(has("namespace emitted {"));
  CHECK(has(".dim = 384,"));
  CHECK(has(".moe = {.experts = 8}};"));
  CHECK(has("steps = 964, sequences = 32, accumulation = 1;"));
  CHECK(has("muon_lr = 0.02, adamw_lr = 0.003;"));
}

}  // namespace
