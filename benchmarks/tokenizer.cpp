// Byte-pair encoding on one thread: bytes a second, as a share of the speed at which as many bytes
// are copied. pieces: the text is only cut into pieces, not merged. The texts are those of
// MOE_DATA_DIR, or generated; the vocabulary is MOE_DATA_DIR/gpt2, or the 256 bytes.  Names:
// tokenizer/WHAT/TEXT.
#include <cstdlib>
#include <moe/core/random.hpp>
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <moe_lab/text/generated_verse.hpp>

#include "measure.hpp"

namespace {

std::string data_folder() {
  const char* folder = std::getenv("MOE_DATA_DIR");
  return folder == nullptr ? "" : folder;
}

/// 1 MB of random letters, from the `letters` code points that begin at `first`, in words of about
/// `word` letters (0: one word).
std::string random_words(std::int32_t first, std::uint32_t letters, std::uint32_t word) {
  std::string text;
  for (std::uint64_t i = 0; text.size() < 1'000'000; ++i) {
    const moe::RandomWords r = moe::philox(1, 0, i);
    if (word > 0 && r[0] % (word + 1) == 0)
      text += ' ';
    else
      moe::append_code_point(text, first + std::int32_t(r[1] % letters));
  }
  return text;
}

/// Measures work(text), which reads all of it.
template <class Work>
void add(const std::string& name, const std::string& text, const Work& work) {
  benchmark::RegisterBenchmark(("tokenizer/" + name).c_str(),
                               [=](benchmark::State& state) {
                                 const double bytes = double(text.size());
                                 const double rate =
                                     bench::measure(state, bytes, bench::copy_speed(1, bytes),
                                                    [&] { work(text); });
                                 state.counters["MB/s"] = 1e3 * rate;
                               })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string data = data_folder(), vocabulary = data + "/gpt2";
  const bool found = !data.empty() && moe::detail::exists(vocabulary + "/vocab.json");
  static const moe::BpeTokenizer tokenizer =
      found ? moe::BpeTokenizer::from_folder(vocabulary) : moe::BpeTokenizer::bytes();
  std::printf("vocabulary: %s, %d tokens\n", found ? vocabulary.c_str() : "bytes",
              tokenizer.vocab_size());
  std::vector<std::pair<std::string, std::string>> texts;
  for (const char* name : {"tinyshakespeare.txt", "tinystories_valid_sample.txt"})
    if (!data.empty() && moe::detail::exists(data + "/" + name))
      texts.emplace_back(name, moe::read_file(data + "/" + name));
  if (texts.empty()) texts.emplace_back("generated", lab::generated_verse(1'000'000, 1));
  texts.emplace_back("random_words", random_words('a', 26, 6));
  texts.emplace_back("cyrillic_words", random_words(0x430, 32, 6));
  texts.emplace_back("chinese", random_words(0x4E00, 3000, 0));
  texts.emplace_back("one_word", random_words('a', 26, 0));
  texts.emplace_back("one_letter", random_words('a', 1, 0));
  for (const auto& [name, text] : texts) {
    add("pieces/" + name, text, [](const std::string& all) {
      std::size_t pieces = 0;
      for (std::size_t at = 0; at < all.size(); ++pieces) at = moe::next_piece(all, at);
      benchmark::DoNotOptimize(pieces);
    });
    add("encode/" + name, text,
        [](const std::string& all) { benchmark::DoNotOptimize(tokenizer.encode(all)); });
    add("decode/" + name, text, [ids = tokenizer.encode(text)](const std::string&) {
      benchmark::DoNotOptimize(tokenizer.decode(ids));
    });
  }
  return bench::run(argc, argv);
}
