// Trains a small mixture-of-experts language model on the bytes of one text file.
#include <cstdio>
#include <moe/train.hpp>

#include "model.hpp"

int main(int argc, char** argv) {
  const std::optional<int> steps = argc == 3 ? moe::whole_number(argv[2]) : 1000;
  if (argc < 2 || argc > 3 || !steps || *steps < 1) {
    std::fprintf(stderr, "usage: %s TEXT_FILE [STEPS]\n", argv[0]);
    return 2;
  }
  return moe::report_errors([&] {  // prints a moe::Error and gives 1
    const moe::ByteCorpus corpus{argv[1]};
    moe::require_place("model.moe");  // before the work, not after it

    moe::Cpu backend;
    moe::Transformer<config> model{backend, {.batch = 16, .balance_weight = 0.01, .seed = 42}};
    moe::Muon optimizer{model, {.lr = 0.02}};  // embedding, head, router and gains go to AdamW

    for (int step = 0; step < *steps; ++step) {
      const moe::Loss loss = model.forward(corpus.sample(16, config.context, step));
      model.backward();
      optimizer.step(moe::cosine(step, *steps));
      if (step % 100 == 0) std::printf("step %4d  loss %.3f nats\n", step, loss.cross_entropy);
    }
    moe::save(model, "model.moe");
    const std::string prompt = "Once upon a time";
    const std::string text = prompt + moe::generate(model, prompt, {.tokens = 200}) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);  // a model of bytes may write a NUL
  });
}
