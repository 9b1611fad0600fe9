// Continues a text with a model that was saved by moe::save, token by token as they are chosen.
// The structure of the model is part of this program: it must be the one of the program that
// trained it (here the one of train_text.cpp), and moe::load says so when it is not.
#include <cstdio>
#include <moe/backend/cpu.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>

constexpr moe::ModelConfig config{.vocab = 256,  // one token per byte
                                  .dim = 128,
                                  .layers = 4,
                                  .heads = 4,
                                  .context = 128,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 256}};

int main(int argc, char** argv) {
  moe::SampleOptions options{.tokens = 500, .temperature = 0.8, .top_k = 40};
  unsigned long long seed = options.seed;
  char rest;  // what follows a number, and makes it none
  const auto number = [&](int i, const char* format, auto* to) {
    return argc <= i || (argv[i][0] != '-' && std::sscanf(argv[i], format, to, &rest) == 1);
  };
  if (argc < 3 || argc > 6 || !number(3, "%9d%c", &options.tokens) ||
      !number(4, "%lf%c", &options.temperature) || !number(5, "%19llu%c", &seed)) {
    std::fprintf(stderr, "usage: %s FOLDER PROMPT [TOKENS [TEMPERATURE [SEED]]]\n", argv[0]);
    return 2;
  }
  options.seed = seed;

  try {
    moe::Cpu backend;
    moe::Transformer<config, moe::Cpu<float>> model{backend, {.max_tokens = config.context}};
    moe::load(model, argv[1]);
    std::fputs(argv[2], stdout);
    moe::generate(model, argv[2], options, [](std::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    });
    std::puts("");
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      throw moe::Error("cannot write the text; free some space");
    return 0;
  } catch (const moe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
