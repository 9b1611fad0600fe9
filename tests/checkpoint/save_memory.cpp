#include <cstdlib>
#include <new>

#include "catch.hpp"
#include "skip.hpp"
#include "train/tiny.hpp"

// Tests how much memory a save takes from the heap, and what happens if there is not enough.

using namespace moe;
using test::has;
using test::ScratchFolder;

namespace {

std::size_t most_at_once = 0;                      // the largest block since this was set to 0
std::size_t refused_above = std::size_t(1) << 62;  // allocations from this size on fail

[[maybe_unused]] void* allocate(std::size_t size) {  // not with a sanitizer
  most_at_once = std::max(most_at_once, size);
  void* const block = size > refused_above ? nullptr : std::malloc(size);
  return block ? block : throw std::bad_alloc();
}

constexpr ModelConfig wide = {.vocab = 30'000, .dim = 64, .layers = 1, .heads = 2, .context = 8};
using WideTransformer = Transformer<wide, Cpu<float>>;  // its embedding alone takes 7.7 MB

}  // namespace

#if !MOE_SANITIZED  // a sanitizer has its own operator new
void* operator new(std::size_t size) {
  return allocate(size);
}
void operator delete(void* block) noexcept {
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}
#endif

TEST_CASE("save_checkpoint: takes no memory that grows with the model", "[checkpoint]") {
  if (moe::test::sanitized) return moe::test::skip("a sanitizer has its own operator new");
  const ScratchFolder scratch;
  Cpu<float> cpu(1);
  WideTransformer model(cpu, {.max_tokens = 8});
  AdamW<WideTransformer> optimizer(model);
  most_at_once = 0;
  save_checkpoint(model, optimizer, {}, scratch / "last");
  save_checkpoint(model, optimizer, {}, scratch / "last");
  CHECK(most_at_once > 0);
  CHECK(most_at_once < 2'000'000);
}

TEST_CASE("Trainer: a run goes on after a save that failed for want of memory", "[trainer]") {
  if (moe::test::sanitized) return moe::test::skip("a sanitizer has its own operator new");
  const ScratchFolder scratch;
  test::TinyRun run;
  std::string warnings;
  TrainerOptions options = test::tiny_run_options(scratch / "r");
  options.checkpoint_every = 1;
  Trainer trainer(run.model, run.optimizer, run.text.train, run.text.validation, options,
                  {.on_step =
                       [&](const StepRecord& row) {
                         refused_above = row.step == 3 ? 500'000 : std::size_t(1) << 62;
                       },
                   .on_warning = [&](const std::string& text) { warnings += text + "\n"; }});
  CHECK(trainer.run() == StopReason::finished);
  CHECK(has(warnings, "the run goes on"));
  CHECK(read_manifest(scratch / "r/last").at("cursor").at("step").as_int("step") == options.steps);
}
