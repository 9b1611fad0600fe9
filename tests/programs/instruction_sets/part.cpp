// A model trained for a few steps, in a translation unit that is compiled more than once, each time
// for another instruction set and with another name for TRAIN.
#include <moe/backend/cpu.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>

constexpr moe::ModelConfig config{.vocab = 27,
                                  .dim = 32,
                                  .layers = 2,
                                  .heads = 2,
                                  .context = 16,
                                  .moe = {.experts = 4, .top_k = 2, .hidden = 48}};

double TRAIN() {
  moe::Cpu<float> backend{1};
  moe::Transformer<config, moe::Cpu<float>> model{backend, {.batch = 2, .seed = 3}};
  moe::Muon optimizer{model};
  std::int32_t text[33];
  for (int i = 0; i < 33; ++i) text[i] = i * i * 7 % 27;
  for (int step = 0; step < 10; ++step) {
    model.forward(moe::Batch::next_token(text, 2));
    model.backward();
    optimizer.step(moe::cosine(step, 10));
  }
  return model.forward(moe::Batch::next_token(text, 2), false).total;
}
