#pragma once
#include <moe/checkpoint/manifest.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/generate/generate.hpp>
#include <moe_lab/corpus.hpp>
#include <variant>

// The text, its tokens, and what a checkpoint says about both.

namespace shakespeare {

/// The tokens of a text: its characters, or bytes if it has more characters than the model has
/// tokens.
class Vocabulary {
 public:
  Vocabulary() : kind_(moe::ByteTokenizer{}) {}
  explicit Vocabulary(moe::CharTokenizer characters) : kind_(std::move(characters)) {}

  bool is_bytes() const { return std::holds_alternative<moe::ByteTokenizer>(kind_); }
  std::string unit() const { return is_bytes() ? "bytes" : "characters"; }
  int size() const {
    return std::visit([](const auto& v) { return v.size(); }, kind_);
  }
  std::string decode(const std::vector<std::int32_t>& tokens) const {
    return std::visit([&](const auto& v) { return v.decode(tokens); }, kind_);
  }
  /// `name` is what the user calls the text.
  /// Errors: a character that is not in the vocabulary, bytes that are not UTF-8.
  std::vector<std::int32_t> encode(std::string_view text, const std::string& name) const {
    try {
      return std::visit([&](const auto& v) { return v.encode(text); }, kind_);
    } catch (const moe::Error& error) {
      throw moe::Error("cannot use ", name, ": ", error.sentence());
    }
  }
  /// The prompt if none was given: a line break if the vocabulary has it, else a space, else the
  /// first character.
  std::string default_prompt() const {
    const auto* characters = std::get_if<moe::CharTokenizer>(&kind_);
    if (!characters || characters->contains('\n')) return "\n";
    return characters->contains(' ') ? " " : characters->decode({0});
  }

  moe::Json to_json() const {
    if (const auto* characters = std::get_if<moe::CharTokenizer>(&kind_))
      return characters->to_json();
    moe::Json json;
    json["tokens"] = "bytes";
    return json;
  }
  static Vocabulary from_json(const moe::Json& json) {
    if (json.is_object() && json.at("tokens", "vocabulary").as_string("tokens") == "bytes")
      return {};
    return Vocabulary(moe::CharTokenizer::from_json(json, "vocabulary"));
  }

 private:
  std::variant<moe::CharTokenizer, moe::ByteTokenizer> kind_;
};

/// What a checkpoint of this program says about the text that it was trained on.
struct Origin {
  std::string preset, text, source;  // text: a hash
  Vocabulary vocabulary;

  /// Errors: a checkpoint that this program did not write.
  explicit Origin(const std::string& checkpoint) {
    const moe::Json manifest = moe::read_manifest(checkpoint);
    const moe::Json* run = manifest.find("run");
    const moe::Json* settings = run ? run->find("settings") : nullptr;
    if (!settings || !settings->find("preset") || !run->find("vocabulary")) {
      throw moe::Error("cannot use checkpoint '", checkpoint,
                       "': it was not written by this program; give the folder of one of its runs");
    }
    preset = settings->at("preset", "settings").as_string("settings.preset");
    vocabulary = Vocabulary::from_json(run->at("vocabulary", "run"));
    if (const moe::Json* hash = run->find("text")) text = hash->as_string("run.text");
    if (const moe::Json* from = run->find("data")) source = from->as_string("run.data");
  }

  /// " (text: a.txt)", or "" if it is unknown.
  std::string where() const { return source.empty() ? "" : " (" + source + ")"; }
};

/// A text, split into training and validation, as tokens.
struct Data {
  lab::Corpus corpus;
  std::string hash;
  Vocabulary vocabulary;
  std::vector<std::int32_t> train, validation;

  explicit Data(const std::string& path)
      : corpus(lab::find_tiny_shakespeare(path)),
        hash(moe::hex(moe::xxh64(corpus.text.data(), corpus.text.size()))) {}

  /// Chooses characters if the text has at most `most` different ones, else bytes.
  void choose_vocabulary(int most) {
    const moe::CharTokenizer characters(corpus.text);
    vocabulary = characters.size() <= most ? Vocabulary(characters) : Vocabulary();
  }
  /// Makes the tokens. Errors: training or validation is shorter than a window.
  void encode(int context) {
    const moe::Split part = moe::split(corpus.text, 0.1, name());
    train = vocabulary.encode(part.train, name());
    validation = vocabulary.encode(part.validation, name());
    moe::require_parts(train.size(), validation.size(), context, context, name(),
                       vocabulary.unit());
  }
  std::string name() const { return corpus.name(); }
};

}  // namespace shakespeare
