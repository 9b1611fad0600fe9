// model FOLDER TOKENS OUT: imports a Hugging Face folder in float and in double, and writes into
// the folder OUT what hugging_face.py compares: logits and greedy continuations in
// logits.safetensors, and the model again, exported as F32 (in several files) and as F64.
#include <cstdio>
#include <model_config.hpp>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/checkpoint/hugging_face.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>

namespace {

constexpr int prompt_tokens = 5, new_tokens = 24;

/// What one backend makes of the folder.
template <class B>
struct Run {
  using W = moe::Wide<B>;
  std::vector<W> logits;
  std::vector<std::int32_t> continuation;

  Run(const std::string& folder, const std::string& exported, const moe::HuggingFaceExport& how,
      const std::vector<std::int32_t>& tokens, int sequences) {
    using Model = moe::Transformer<model_config, B>;
    B backend;
    const int n = int(tokens.size());
    Model model{backend, moe::hugging_face_options(folder, {.max_tokens = n})};
    moe::import_hugging_face(model, folder);
    const moe::Batch batch{tokens.data(), tokens.data(), sequences, n / sequences};
    model.forward(batch, false);
    logits = model.logits();
    continuation = moe::generate_tokens(model, {tokens.begin(), tokens.begin() + prompt_tokens},
                                        {.tokens = new_tokens, .temperature = 0});

    moe::export_hugging_face(model, exported, how);
    Model again{backend, moe::hugging_face_options(exported, {.max_tokens = n, .seed = 1})};
    moe::import_hugging_face(again, exported);
    again.forward(batch, false);
    if (again.logits() != logits)
      throw moe::Error("the model exported to '", exported, "' has other logits");
  }
};

void run(const std::string& folder, const std::string& tokens_file, const std::string& out) {
  const moe::Safetensors file(tokens_file);
  const auto tokens = file.read<std::int32_t>("tokens");
  const int sequences = int(file.shape("tokens").at(0));
  moe::make_folders(out);
  const Run<moe::Cpu<float>> narrow(folder, out + "/f32", {.shard_bytes = 30000}, tokens,
                                    sequences);
  const Run<moe::Reference<double>> wide(folder, out + "/f64", {.dtype = moe::Dtype::F64}, tokens,
                                         sequences);
  const std::size_t vocab = model_config.vocab, n = tokens.size();
  moe::save_safetensors(
      out + "/logits.safetensors",
      {moe::tensor_view("float32", {n, vocab}, narrow.logits.data()),
       moe::tensor_view("float64", {n, vocab}, wide.logits.data()),
       moe::tensor_view("continuation32", {std::size_t(new_tokens)}, narrow.continuation.data()),
       moe::tensor_view("continuation64", {std::size_t(new_tokens)}, wide.continuation.data())});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: %s FOLDER TOKENS OUT\n", argv[0]), 2;
  try {
    run(argv[1], argv[2], argv[3]);
  } catch (const moe::Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
