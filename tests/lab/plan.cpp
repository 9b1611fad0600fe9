#include <moe_lab/plan.hpp>
#include <moe_lab/progress.hpp>

#include "catch.hpp"
#include "train/tiny.hpp"

using lab::Plan;
using lab::Progress;
using moe::StepRecord;
using moe::test::has;

TEST_CASE("describe and predict: name every class of memory and say what was assumed", "[plan]") {
  using Model = moe::test::TinyTransformer;
  const Plan plan = lab::make_plan<Model, moe::AdamW<Model>>(4, 16);
  CHECK(plan.parameters.total == moe::parameter_count<Model>().total);
  CHECK(plan.batch_tokens == 64);
  CHECK(plan.memory.total() == moe::training_memory<Model, moe::AdamW<Model>>(64).total());
  const std::string text = describe(plan);
  for (const char* word :
       {"total", "active", "embedding", "parameters", "gradients", "cache", "scratch", "optimizer"})
    CHECK(has(text, word));
  const double gflops = plan.flops.training() * 1e-9 / plan.efficiency;  // one token a second
  CHECK(has(predict(plan, gflops, 2, 64), " 1 tokens/s, 128 s for 2 steps of 64 tokens"));
}

TEST_CASE("probe_gflops: gives a rate", "[plan]") {
  moe::test::TinyBackend backend(1);
  CHECK(lab::probe_gflops(backend, 64, 16, 16, 0.01) > 0);
}

TEST_CASE("Progress: plain lines where there is no terminal", "[progress]") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  {
    Progress progress({.steps = 10, .flops_per_token = 1e6, .peak_gflops = 1, .to = file});
    StepRecord row{
        .step = 1, .tokens_per_second = 500, .load = {{0.5, 0.5}}, .health = {{1.9, 0, 0}}};
    row.loss.cross_entropy = 4.25;
    progress.step(row, {});
    const lab::Resources idle{.cpu_percent = 0};
    row.step = 2;
    progress.step(row, idle);  // too soon after the first
    progress.evaluation({.step = 2, .loss = 2, .best = true, .tokens_per_second = 1500});
    progress.evaluation({.step = 3});
    row.step = 10;
    row.collapsed = 1;
    progress.step(row, idle);
  }
  std::rewind(file);
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  CHECK(has(text, "step 1/10  loss 4.250  0.5k tokens/s  50 % of peak"));
  CHECK_FALSE(has(text, "step 2/10"));
  CHECK(has(text, "healthy (1.9 of 2 experts)  cpu unknown"));
  CHECK(has(text, "(1.9 of 2 experts)  cpu 0 %"));
  CHECK(has(text, "validation 2.0000 nats (perplexity 7.389)  best so far  1.5k tokens/s"));
  CHECK(has(text, "step 3  train not finite  validation not finite  speed unknown"));
  CHECK(has(text, "step 10/10"));
  CHECK(has(text, "COLLAPSED in 1 of 1 layers (1.9 of 2 experts)"));
  CHECK_FALSE(has(text, "\r"));
}

TEST_CASE("Progress: seconds as a clock", "[progress]") {
  CHECK(Progress::clock(0) == "0:00");
  CHECK(Progress::clock(61.4) == "1:01");
  CHECK(Progress::clock(3725) == "1:02:05");
  CHECK(Progress::clock(-3) == "0:00");
}
