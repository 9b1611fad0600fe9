// Continues a text with a model that was saved by moe::save, and prints each token as soon as it is
// chosen. The structure of the model is compiled in: train_text.cpp includes the same model.hpp.
// moe::load refuses a model of another structure and says what differs.
#include <cstdio>
#include <moe/infer.hpp>

#include "model.hpp"

int main(int argc, char** argv) {
  const std::optional<int> tokens = argc > 3 ? moe::whole_number(argv[3]) : 500;
  double temperature = 0.8;
  char rest;  // set if anything follows the number
  const bool has_temperature =
      argc <= 4 || (argv[4][0] != '-' && std::sscanf(argv[4], "%lf%c", &temperature, &rest) == 1);
  const std::optional<std::uint64_t> seed =
      argc > 5 ? moe::whole_number<std::uint64_t>(argv[5]) : 0;
  if (argc < 3 || argc > 6 || !tokens || *tokens < 0 || !has_temperature || !seed) {
    std::fprintf(stderr, "usage: %s FOLDER PROMPT [TOKENS [TEMPERATURE [SEED]]]\n", argv[0]);
    return 2;
  }
  const moe::SampleOptions options{
      .tokens = *tokens, .temperature = temperature, .top_k = 40, .seed = *seed};

  return moe::report_errors([&] {
    moe::Cpu backend;
    moe::Transformer<config> model{backend, {}};
    moe::load(model, argv[1]);
    std::fputs(argv[2], stdout);
    moe::generate(model, argv[2], options, [](std::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    });
    std::puts("");
  });
}
