// Encodes lines of hexadecimal bytes from the input and prints the ids of each; the tokenizer is
// that of FOLDER, and is also written to SAVED.
// usage: interop_tokenize FOLDER SAVED < lines
#include <cstdio>
#include <moe/data/bpe/bpe_tokenizer.hpp>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FOLDER SAVED < lines\n", argv[0]);
    return 2;
  }
  try {
    const auto tokenizer = moe::BpeTokenizer::from_folder(argv[1]);
    tokenizer.save(argv[2]);
    std::string text;
    unsigned digits = 1;  // hexadecimal digits of a byte after a leading 1
    for (int c = std::getchar(); c != EOF; c = std::getchar()) {
      if (c != '\n') {
        digits = digits << 4 | static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
        if (digits >> 8 != 0) text.push_back(static_cast<char>(digits));
        if (digits >> 8 != 0) digits = 1;
        continue;
      }
      const auto ids = tokenizer.encode(text, moe::SpecialTokens::as_tokens);
      if (tokenizer.decode(ids) != text) throw moe::Error("decode gives another text");
      for (const std::int32_t id : ids) std::printf("%d ", id);
      std::puts("");
      text.clear();
    }
  } catch (const moe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
