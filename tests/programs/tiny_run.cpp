// A run that takes seconds. Other tests start, stop, kill and resume it as a process of its own.
// usage: tiny_run OUT STEPS [--threads N] [--pause-at STEP] [--resume] [--forget WHAT]
#include <cstring>

#include "../train/tiny.hpp"

using namespace moe;

namespace {

/// Leaves one piece of the resumed state out, to test that the tests notice it.
void forget(test::TinyTransformer& model, Muon<test::TinyTransformer>& optimizer,
            const std::string& what) {
  if (what == "passes") model.set_passes(0);
  if (what == "updates") optimizer.set_updates(0);
  if (what == "momentum") {
    optimizer.for_each_state([](const std::string& name, auto& leaf) {
      if (name.rfind("first.", 0) == 0) std::fill_n(leaf.data, leaf.size, 0.0f);
    });
  }
}

int run(int argc, char** argv) {
  TrainerOptions options = test::tiny_run_options(argv[1], std::atoi(argv[2]));
  options.checkpoint_every = 1;
  int threads = 1;
  bool resume = false;
  std::string what;
  for (int i = 3; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--resume") {
      resume = true;
    } else if (i + 1 == argc) {
      return 2;
    } else if (name == "--threads") {
      threads = std::atoi(argv[++i]);
    } else if (name == "--pause-at") {
      options.pause_at = std::atoi(argv[++i]);
    } else if (name == "--forget") {
      what = argv[++i];
    }
  }
  test::TinyBackend backend(threads);
  test::TinyTransformer model(backend, test::tiny_options());
  Muon optimizer(model);
  const test::TinyText text;
  Trainer trainer(model, optimizer, text.train, text.validation, options);
  if (resume) trainer.resume();
  forget(model, optimizer, what);
  trainer.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
