#pragma once
#include <moe/data/bpe/byte_pair_files.hpp>
#include <span>

namespace moe::inline MOE_ISA::detail {

/// Reads the parts of a tokenizer.json (Hugging Face tokenizers, version 1.0) that determine ids,
/// and rejects every setting that would lead to other ids than ours.
/// Source: huggingface/tokenizers 3ba8ad0.  Test: tests/data/tokenizer_json.cpp.
class TokenizerJsonReader {
 public:
  TokenizerJsonReader(std::string_view json, const std::string& path)
      : json_(json), reader_(json, path), path_(path) {}

  BytePairVocabulary read() {
    read_all_but_merges();
    BytePairVocabulary out = assemble(std::exchange(text_, {}), path_);
    reader_ = JsonReader(json_, path_);
    MergeReader merges(out, path_);
    reader_.each_member([&](const std::string& field) {
      if (field != "model") return reader_.skip();
      reader_.each_member([&](const std::string& name) {
        if (name != "merges") return reader_.skip();
        reader_.each_item([&] { read_merge(merges); });
      });
    });
    return out;
  }

 private:
  /// One step of the pre-tokenizer, with the default values of missing fields.
  struct Step {
    std::string type;
    bool add_prefix_space = true, use_regex = true, individual_digits = false;
    std::string pattern = {}, behavior = {};
    bool invert = false;
  };

  void read_all_but_merges() {
    reader_.each_member([&](const std::string& name) {
      if (name == "model") {
        once(seen_model_, name);
        read_model();
      } else if (name == "added_tokens") {
        once(seen_added_, name);
        reader_.each_item([&] { read_added_token(); });
      } else if (name == "pre_tokenizer") {
        once(seen_pre_tokenizer_, name);
        read_pre_tokenizer();
      } else if (name == "normalizer") {
        if (!reader_.accept("null")) read_normalizer();
      } else if (name == "post_processor") {
        if (!reader_.accept("null")) read_post_processor();
      } else {
        // Truncation and padding are skipped too: they are options of a call, and encode() does
        // neither, like transformers by default.
        reader_.skip();
      }
    });
    reader_.finish();
    if (!seen_model_) refuse("it has no field 'model'");
    if (!seen_vocabulary_ || !seen_merges_) refuse("its model has no fields 'vocab' and 'merges'");
    if (!seen_pre_tokenizer_) refuse("it has no field 'pre_tokenizer'");
  }

  [[noreturn]] void refuse(const std::string& why) const { vocabulary_failed(path_, why); }

  void once(bool& seen, const std::string& name) const {
    if (std::exchange(seen, true)) refuse("its field '" + name + "' is there twice");
  }

  bool boolean() {
    if (reader_.accept("true")) return true;
    if (!reader_.accept("false") && !reader_.accept("null"))
      reader_.fail("true or false is expected");
    return false;
  }
  void require_false(const std::string& name) {
    if (boolean()) refuse("its setting '" + name + "' is true");
  }
  void require_empty(const std::string& name) {
    if (!reader_.accept("null") && !reader_.string().empty())
      refuse("its setting '" + name + "' is not empty");
  }

  void read_model() {
    reader_.each_member([&](const std::string& name) {
      if (name == "type") {
        if (const std::string type = reader_.string(); type != "BPE")
          refuse("its model is " + in_quotes(type) + ", not 'BPE'");
      } else if (name == "vocab") {
        once(seen_vocabulary_, name);
        read_vocabulary(reader_, text_);
      } else if (name == "merges") {
        once(seen_merges_, name);
        reader_.skip();  // read later, when the vocabulary is known
      } else if (name == "dropout") {
        if (reader_.accept("null")) return;
        const JsonNumber rate = reader_.number();
        if (rate.signed_value != 0 || rate.unsigned_value != 0 || rate.real_value != 0)
          refuse("its setting 'dropout' is not null");
      } else if (name == "continuing_subword_prefix" || name == "end_of_word_suffix") {
        require_empty(name);
      } else if (name == "byte_fallback") {
        require_false(name);
      } else if (name == "ignore_merges") {
        text_.ignore_merges = boolean();
      } else {
        reader_.skip();
      }
    });
  }

  /// "left right" or ["left", "right"].
  void read_merge(MergeReader& merges) {
    if (reader_.peek() == '"') return merges.add(reader_.string());
    std::string parts[2];
    std::size_t count = 0;
    reader_.each_item([&] {
      if (count == 2) reader_.fail("a merge of two parts is expected");
      parts[count++] = reader_.string();
    });
    if (count != 2) reader_.fail("a merge of two parts is expected");
    merges.add(parts[0], parts[1]);
  }

  void read_added_token() {
    AddedToken added;
    std::string content;
    reader_.each_member([&](const std::string& name) {
      if (name == "id") {
        added.id = read_id(reader_);
      } else if (name == "content") {
        content = reader_.string();
      } else if (name == "special") {
        added.special = boolean();
      } else if (name == "normalized") {
        added.normalized = boolean();
      } else if (name == "single_word" || name == "lstrip" || name == "rstrip") {
        require_false(name);
      } else {
        reader_.skip();
      }
    });
    if (added.id < 0 || content.empty()) reader_.fail("an added token needs 'id' and 'content'");
    text_.added_names.push_back(content);
    text_.added.push_back(added);
  }

  /// Appends the steps of one pre-tokenizer. A Sequence contributes each of its steps.
  void read_steps(std::vector<Step>& steps) {
    Step step;
    const std::size_t before = steps.size();
    reader_.each_member([&](const std::string& name) {
      if (name == "type") {
        step.type = readable(reader_.string());
      } else if (name == "pretokenizers") {
        reader_.each_item([&] { read_steps(steps); });
      } else if (name == "add_prefix_space") {
        step.add_prefix_space = boolean();
      } else if (name == "use_regex") {
        step.use_regex = boolean();
      } else if (name == "individual_digits") {
        step.individual_digits = boolean();
      } else if (name == "pattern" && reader_.peek() == '{') {
        reader_.each_member([&](const std::string& kind) {
          std::string text = reader_.string();
          if (kind == "Regex") step.pattern = std::move(text);
        });
      } else if (name == "behavior" && reader_.peek() == '"') {
        step.behavior = reader_.string();
      } else if (name == "invert") {
        step.invert = boolean();
      } else {
        reader_.skip();
      }
    });
    if (steps.size() > 8) refuse("its pre-tokenizer has more than 8 steps");
    if (step.type != "Sequence") steps.insert(steps.begin() + std::ptrdiff_t(before), step);
  }

  void read_pre_tokenizer() {
    std::vector<Step> steps;
    if (!reader_.accept("null")) read_steps(steps);
    std::size_t at = 0;
    if (steps.size() > 1 && steps[0].type == "Digits") {
      if (!steps[0].individual_digits)
        refuse("its setting 'individual_digits' is false, only single digits are known");
      text_.pre_tokenizer = PreTokenizer::gpt2_each_digit;
      at = 1;
    }
    const bool split = steps.size() > at + 1 && steps[at].type == "Split";
    if (split) require_gpt2_split(steps[at++]);
    for (const Step& step : std::span(steps).subspan(at)) {
      if (step.type != "ByteLevel" && step.type != "Digits")
        refuse("its pre-tokenizer is '" + step.type + "', only 'ByteLevel' and 'Digits' are known");
    }
    if (steps.size() != at + 1 || steps[at].type != "ByteLevel")
      refuse("its pre-tokenizer is not 'ByteLevel', alone or after 'Digits'");
    if (steps[at].add_prefix_space) refuse("its setting 'add_prefix_space' is true");
    if (!steps[at].use_regex && !split) refuse("its setting 'use_regex' is false");
  }

  /// Accepts a Split step only if it spells out the pattern of ByteLevel.
  void require_gpt2_split(const Step& step) const {
    constexpr std::string_view rest = R"(| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
    const bool known = step.pattern == "'s|'t|'re|'ve|'m|'ll|'d" + std::string(rest) ||
                       step.pattern == "'(?:[sdmt]|ll|ve|re)" + std::string(rest);
    if (!known || step.behavior != "Isolated" || step.invert)
      refuse("its pre-tokenizer 'Split' does not cut as GPT-2's pattern does");
  }

  /// Accepts only an empty Sequence, which changes nothing.
  void read_normalizer() {
    std::string type;
    reader_.each_member([&](const std::string& name) {
      if (name == "type") {
        type = readable(reader_.string());
      } else if (name == "normalizers") {
        reader_.each_item([&] { read_normalizer(); });
      } else {
        reader_.skip();
      }
    });
    if (type != "Sequence")
      refuse("its field 'normalizer' is not null: '" + type + "' changes the text");
  }

  /// Accepts ByteLevel, which changes only offsets, and a template that holds nothing but the text.
  /// All others add tokens, which encode() does not.
  void read_post_processor() {
    std::string type, adds;
    bool has_template = false;
    reader_.each_member([&](const std::string& name) {
      if (name == "type") {
        type = readable(reader_.string());
      } else if (name == "processors") {
        reader_.each_item([&] { read_post_processor(); });
      } else if (name == "single") {
        has_template = true;
        reader_.each_item([&] { read_template_part(adds); });
      } else {
        reader_.skip();
      }
    });
    if (type == "ByteLevel" || type == "Sequence") return;
    if (type == "TemplateProcessing" && has_template && adds.empty()) return;
    refuse("its post-processor is '" + type + "', which adds " +
           (adds.empty() ? "tokens" : "token " + adds));
  }
  /// {"Sequence": ...}, or {"SpecialToken": {"id": "<s>"}}, whose name is stored in `adds`.
  void read_template_part(std::string& adds) {
    reader_.each_member([&](const std::string& kind) {
      if (kind == "Sequence") return reader_.skip();
      if (adds.empty()) adds = in_quotes(kind);
      if (reader_.peek() != '{') return reader_.skip();
      reader_.each_member([&](const std::string& name) {
        if (name != "id" || reader_.peek() != '"') return reader_.skip();
        adds = in_quotes(reader_.string());
      });
    });
  }

  std::string_view json_;
  JsonReader reader_;
  const std::string& path_;
  BytePairText text_;
  bool seen_model_ = false, seen_added_ = false, seen_pre_tokenizer_ = false;
  bool seen_vocabulary_ = false, seen_merges_ = false;
};

inline BytePairVocabulary read_tokenizer_json(const std::string& path) {
  const MemoryMap file = map_vocabulary(path);
  return TokenizerJsonReader(without_byte_order_mark(file.bytes()), path).read();
}

}  // namespace moe::detail
