// Saves or loads one checkpoint again and again, while other processes do the same; started by
// folder_storm.py.
// usage: folder_storm write|read FOLDER COUNT exchange|rename
// A writer says "saved" after each save; a reader says "loaded" after each load. All parameters of
// a save have the same value, so that a mixture of two saves would show.
#include <cstring>

#include "../train/tiny.hpp"

using namespace moe;

namespace {

void say(const char* word) {
  std::puts(word);
  std::fflush(stdout);
}

template <class F>
void for_all(test::TinyTransformer& model, const F& f) {
  const auto visit = [&](const std::string&, auto& leaf) {
    for (std::size_t i = 0; i < leaf.size; ++i) f(leaf.data[i]);
  };
  for_each_named_leaf(visit, "", model.params());
}

int run(const std::string& mode, const std::string& folder, int count) {
  test::TinyBackend backend(1);
  test::TinyTransformer model(backend, test::tiny_options());
  for (int i = 0; i < count; ++i) {
    if (mode == "write") {
      for_all(model, [&](float& x) { x = float(::getpid() % 1000) + float(i % 1000) / 1000; });
      save(model, folder);
      say("saved");
    } else {
      load(model, folder);
      const float first = model.params().final_norm.weight.data[0];
      bool same = true;
      for_all(model, [&](float x) { same = same && x == first; });
      if (!same) throw Error("loaded a mixture of two saves; this is what must not happen");
      say("loaded");
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  detail::exchange_allowed = std::strcmp(argv[4], "exchange") == 0;
  try {
    return run(argv[1], argv[2], std::atoi(argv[3]));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
