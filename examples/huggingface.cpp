// Reads a checkpoint of Hugging Face and writes another one: imports a dense model, turns it into a
// mixture of experts that computes the same, trains that a little and exports it as a Mixtral, with
// the tokenizer, the special tokens and the generation defaults of the dense model.
//
//   huggingface [FOLDER [OUT]]
//
// FOLDER holds config.json, model.safetensors and a tokenizer; without one, a random model is
// written first. The structure of the model is fixed when this program is compiled: moe_add_model
// reads it from examples/huggingface.json, or from the file that CMake is given, for a SmolLM with
// cmake -D MOE_EXAMPLE_MODEL=SmolLM-135M/config.json ...
#include <algorithm>
#include <cstdio>
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <moe/moe.hpp>
#include <smollm.hpp>

constexpr moe::ModelConfig mixtral = moe::with_experts(smollm, {.experts = 4, .top_k = 2});
using Dense = moe::Transformer<smollm, moe::Cpu<float>>;
using Mixture = moe::Transformer<mixtral, moe::Cpu<float>>;
constexpr int sequences = 8, length = std::min(64, smollm.context), updates = 40;

/// Whether the model that was written to a folder has the same logits when it is read back.
template <class Model>
bool verify(const char* what, const std::string& folder, Model& model, const moe::Batch& probe) {
  const moe::Options options{.max_tokens = sequences * length, .seed = 99};
  Model again{model.backend(), moe::hugging_face_options(folder, options)};
  moe::import_hugging_face(again, folder);
  model.forward(probe, false);
  again.forward(probe, false);
  const bool same = model.logits() == again.logits();
  std::printf("%s, read back from %s: its logits are %s\n", what, folder.c_str(),
              same ? "the same to the last bit" : "DIFFERENT");
  return same;
}

/// Converts the folder `given`, or a random model if that is empty, into `out`. Returns the exit
/// code.
int convert(const std::string& given, const std::string& out) {
  const std::string folder = given.empty() ? out + "/dense" : given;
  const moe::Options options{.max_tokens = sequences * length};
  moe::Cpu backend;
  if (given.empty()) {
    std::printf("no folder was given: a random model is written to %s\n", folder.c_str());
    Dense random{backend, options};
    const auto bytes = moe::BpeTokenizer::bytes();
    const auto write = [&](const std::string& to) { bytes.save(to); };
    moe::export_hugging_face(random, folder,
                             {.write_tokenizer = write, .eos_token = bytes.end_of_text()});
  }
  const auto tokenizer = moe::BpeTokenizer::from_folder(folder);
  if (tokenizer.size() > smollm.vocab)
    throw moe::Error("cannot use the tokenizer of '", folder,
                     "': it has more tokens than the model; take the folder of one checkpoint");
  const moe::HuggingFaceExport how{.like = folder};  // its settings that are still true are kept
  for (const char* name : {"/again", "/mixtral"}) moe::require_export_place(out + name);
  std::string text;  // any text will do
  for (int i = 0; i < 5000; ++i)
    text += "Once upon a time there were " + std::to_string(i) + " little birds in a tree.\n";
  const auto tokens = tokenizer.encode(text);
  moe::RandomWindows windows(tokens, sequences, length, 1);
  const moe::Batch probe = windows.sample(updates);

  Dense dense{backend, moe::hugging_face_options(folder, options)};
  moe::import_hugging_face(dense, folder);
  moe::export_hugging_face(dense, out + "/again", how);
  bool good = verify("the dense model", out + "/again", dense, probe);

  Mixture mixture{backend, moe::hugging_face_options(folder, options)};
  const moe::UpcycleReport report = moe::upcycle(dense, mixture, {.seed = 1});
  std::printf("the mixture (%d experts, %d for each token) differs from it by %g: %s\n",
              mixtral.moe.experts, mixtral.moe.top_k, report.max_difference, report.why.c_str());
  good = good && report.max_difference == 0;

  moe::AdamW optimizer{mixture, {.lr = given.empty() ? 2e-3 : 2e-5}};
  moe::RandomWindows batches(tokens, sequences, length, 2);
  double first = 0, last = 0;
  for (int step = 0; step < updates; ++step) {
    last = mixture.forward_backward(batches.sample(step)).cross_entropy;
    if (step == 0) first = last;
    optimizer.step();
  }
  std::printf("trained on %d batches: %.3f nats a token before, %.3f after\n", updates, first,
              last);

  moe::export_hugging_face(mixture, out + "/mixtral", how);
  good = verify("the mixture", out + "/mixtral", mixture, probe) && good;
  return good && last < first ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc > 3 || (argc > 1 && !*argv[1]) || (argc > 2 && !*argv[2])) {
    std::fprintf(stderr, "usage: %s [FOLDER [OUT]]\n", argv[0]);
    return 2;
  }
  return moe::report_errors(
      [&] { return convert(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "huggingface_out"); });
}
