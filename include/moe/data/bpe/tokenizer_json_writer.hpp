#pragma once
#include <moe/data/bpe/byte_pair_files.hpp>

namespace moe::inline MOE_ISA::detail {

/// The texts of a tokenizer's files, in the form that Hugging Face libraries read.
struct TokenizerTexts {
  std::string vocabulary, merges, tokenizer, config;
};

inline TokenizerTexts write_tokenizer(const BytePairVocabulary& vocabulary) {
  const int count = vocabulary.tokens.size();
  std::vector<const AddedToken*> added(static_cast<std::size_t>(count), nullptr);
  for (const AddedToken& token : vocabulary.added)
    added[static_cast<std::size_t>(token.id)] = &token;
  std::string all = "{", model = "{", merges, merge_list;
  for (int id = 0; id < count; ++id) {
    const AddedToken* special = added[static_cast<std::size_t>(id)];
    const std::string_view bytes = vocabulary.tokens[id];
    if (bytes.empty()) continue;
    std::string entry;
    append_json_string(entry, special ? std::string(bytes) : to_characters(bytes));
    entry += ": " + std::to_string(id);
    const auto add = [&](std::string& list) { list += (list.size() > 1 ? ", " : "") + entry; };
    add(all);
    if (!special || special->in_model) add(model);
  }
  for (const Merge& merge : vocabulary.merges) {
    const std::string line = to_characters(vocabulary.tokens[merge.left]) + " " +
                             to_characters(vocabulary.tokens[merge.right]);
    merges += line + "\n";
    merge_list += merge_list.empty() ? "" : ", ";
    append_json_string(merge_list, line);
  }
  Json level;
  level["type"] = "ByteLevel";
  level["add_prefix_space"] = false;
  level["trim_offsets"] = true;
  level["use_regex"] = true;
  Json steps = level;
  if (vocabulary.pre_tokenizer == PreTokenizer::gpt2_each_digit) {
    Json digits;
    digits["type"] = "Digits";
    digits["individual_digits"] = true;
    steps = Json();
    steps["type"] = "Sequence";
    steps["pretokenizers"] = Json(Json::Array{digits, level});
  }
  Json tokens = Json::array(), config;
  for (const AddedToken* token : added) {
    if (token == nullptr) continue;
    Json item;
    item["id"] = token->id;
    item["content"] = vocabulary.tokens[token->id];
    for (const char* flag : {"single_word", "lstrip", "rstrip"}) item[flag] = false;
    item["normalized"] = token->normalized;
    item["special"] = token->special;
    tokens.push_back(item);
    if (vocabulary.tokens[token->id] != end_of_text_token) continue;
    for (const char* role : {"bos_token", "eos_token", "unk_token"})
      config[role] = end_of_text_token;
  }
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["clean_up_tokenization_spaces"] = false;
  TokenizerTexts out;
  out.vocabulary = all + "}\n";
  out.merges = "#version: 0.2\n" + merges;
  out.config = config.dump(2) + "\n";
  out.tokenizer =
      "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": " +
      tokens.dump() + ", \"normalizer\": null, \"pre_tokenizer\": " + steps.dump() +
      ", \"post_processor\": null, \"decoder\": " + level.dump() +
      ",\n\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
      "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
      "\"byte_fallback\": false, \"ignore_merges\": " +
      (vocabulary.ignore_merges ? "true" : "false") + ",\n\"vocab\": " + model +
      "},\n\"merges\": [" + merge_list + "]}}\n";
  return out;
}

}  // namespace moe::detail
