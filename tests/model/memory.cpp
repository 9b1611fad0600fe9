#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/model/memory.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/muon.hpp>

#include "catch.hpp"
#include "train/tiny.hpp"

using namespace moe;
using test::has;

namespace {

/// Counts the bytes that are allocated.
class CountingBackend : public Reference<float> {
 public:
  std::byte* allocate(std::size_t bytes) {
    allocated += bytes;
    return Reference<float>::allocate(bytes);
  }
  std::size_t allocated = 0;
};

}  // namespace

TEST_CASE("training_memory: its total is what model and optimizer then allocate", "[memory]") {
  using Model = Transformer<test::tiny_config, CountingBackend>;
  const ModelMemory memory = training_memory<Model, Muon<Model>>(64);
  CountingBackend backend;
  Model model(backend, {.max_tokens = 64});
  CHECK(model_memory<Model>(64).total() == backend.allocated);
  const Muon optimizer(model);
  CHECK(memory.total() == backend.allocated);
  CHECK(memory.params == memory.grads);
}

TEST_CASE("training_memory: the workspaces of the threads are part of the total", "[memory]") {
  using Model = Transformer<test::tiny_config, Cpu<float>>;
  const ModelMemory one = training_memory<Model, AdamW<Model>>(64, 1);
  const ModelMemory many = training_memory<Model, AdamW<Model>>(64, 1000);
  CHECK(one.workspaces > 0);
  CHECK(many.workspaces == 1000 * one.workspaces);
  CHECK(many.total() - one.total() == 999 * one.workspaces);
}

TEST_CASE("describe: names every class of memory", "[memory]") {
  const ModelMemory memory{.params = 1'000'000,
                           .grads = 1'000'000,
                           .cache = 8'000'000,
                           .scratch = 250'000,
                           .optimizer = 2'000'000,
                           .workspaces = 50'000};
  CHECK(describe(memory) ==
        "12.3 MB = parameters 1.0 + gradients 1.0 + cache 8.0 + scratch 0.2 + optimizer 2.0 + "
        "threads 0.1");
  CHECK(megabytes(673'000'000) == "673.0 MB");
}
