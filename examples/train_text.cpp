// Trains a small mixture-of-experts language model on the bytes of one text file.
#include <cstdio>
#include <moe/moe.hpp>

constexpr moe::ModelConfig config{.vocab = 256,  // one token per byte
                                  .dim = 128,
                                  .layers = 4,
                                  .heads = 4,
                                  .context = 128,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 256}};
constexpr int sequences = 16;

int main(int argc, char** argv) try {
  int steps = 1000;
  char rest;
  if (argc < 2 || argc > 3 ||
      (argc > 2 && (std::sscanf(argv[2], "%9d%c", &steps, &rest) != 1 || steps < 1)))
    return std::fprintf(stderr, "usage: %s TEXT_FILE [STEPS]\n", argv[0]), 2;

  moe::Cpu backend;
  moe::Transformer<config, decltype(backend)> model{
      backend, {.max_tokens = sequences * config.context, .balance_weight = 0.01, .seed = 42}};
  moe::Muon optimizer{model, {.lr = 0.02}};  // embedding, head, router and gains go to AdamW
  const moe::ByteCorpus corpus{argv[1]};
  moe::require_place("model.moe");  // before the work, not after it

  for (int step = 0; step < steps; ++step) {
    const moe::Loss loss = model.forward(corpus.sample(sequences, config.context, step));
    model.backward();
    optimizer.step(moe::cosine(step, steps));
    if (step % 100 == 0) std::printf("step %4d  loss %.3f nats\n", step, loss.cross_entropy);
  }
  moe::save(model, "model.moe");
  const std::string prompt = "Once upon a time";
  const std::string text = prompt + moe::generate(model, prompt, {.tokens = 200}) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);  // a model of bytes may write a NUL
  if (std::fflush(stdout) != 0) throw moe::Error("cannot write the text; free some space");
} catch (const moe::Error& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
