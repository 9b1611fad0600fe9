#pragma once
#include <moe/backend/reference.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>

#include "safetensors.hpp"

namespace moe::hostile {

inline constexpr ModelConfig small_config{.vocab = 11,
                                          .dim = 8,
                                          .layers = 2,
                                          .heads = 4,
                                          .kv_heads = 2,
                                          .hidden = 12,
                                          .context = 6,
                                          .tied = false,
                                          .moe = {.experts = 3, .top_k = 2}};
using SmallBackend = Reference<float>;
using SmallModel = Transformer<small_config, SmallBackend>;

/// Numbers that a file may not have, because they would wrap, be narrowed or change their sign, or
/// are not numbers.
struct BadNumber {
  Cause cause;
  const char* text;
};
inline constexpr BadNumber bad_numbers[] = {{Cause::negative_number, "-1"},
                                            {Cause::negative_number, "-2147483648"},
                                            {Cause::negative_number, "-9223372036854775808"},
                                            {Cause::narrowing_cast, "2147483648"},
                                            {Cause::narrowing_cast, "4294967296"},
                                            {Cause::narrowing_cast, "4294967307"},
                                            {Cause::signed_compare, "9223372036854775807"},
                                            {Cause::signed_compare, "9223372036854775808"},
                                            {Cause::count_wraps, "18446744073709551615"},
                                            {Cause::count_wraps, "18446744073709551616"},
                                            {Cause::count_wraps, "1e300"},
                                            {Cause::assert_as_check, "1.5"},
                                            {Cause::alignment_trusted, "true"},
                                            {Cause::index_from_text, "\"-1\""},
                                            {Cause::nested_types, "[1]"},
                                            {Cause::nested_types, "{}"},
                                            {Cause::missing_part, "null"}};

/// Texts of about `bytes` bytes that are not JSON, or would take much memory or stack as a tree of
/// values.
template <class F>
void bad_json(std::size_t bytes, F&& reject) {
  for (const char* text : {"", "null", "[]", "1", "\"\"", "{", "{\"a\":1,}", "{\"a\":1}x", "{a:1}",
                           "{\"a\":NaN}", "{\"a\":01}", "{\"a\":1,\"a\":2}", "\xEF\xBB\xBF{}",
                           "{\"\xFF\":1}", "{\"\\ud800\":1}", "{\"a\":1e999}"})
    reject(Cause::conformance, std::string("JSON ") + Json(readable(text)).dump(), text);
  reject(Cause::nested_types, "nested arrays", repeated("[", bytes));
  reject(Cause::nested_types, "nested objects", repeated("{\"a\":", bytes / 5));
  reject(Cause::count_bound, "empty arrays", "{\"a\":[" + repeated("[],", bytes / 3) + "[]]}");
  reject(Cause::count_bound, "numbers", "{\"a\":[" + repeated("0,", bytes / 2) + "0]}");
  reject(Cause::length_plus_one, "an open string", "{\"a\":\"" + std::string(bytes, 'a'));
  reject(Cause::length_plus_one, "a long name", "{\"" + std::string(bytes, 'a') + "\":-1}");
  reject(Cause::length_plus_one, "escapes",
         "{\"a\":\"" + repeated("aaaaaaa\\n", bytes / 9) + "\"}");
  reject(Cause::length_plus_one, "a long number", "{\"a\":" + std::string(bytes, '1') + "}");
}

/// A changed text of the manifest, with the manifest's own checksum corrected.
inline std::string sealed(std::string text) {
  const std::string before = "\"sha256\": \"";
  const std::size_t at = text.find(before) + before.size();
  text.erase(at, 64);
  return text.insert(at, sha256(text));
}

inline void attack_manifest(const std::string& folder, SmallModel& model, AdamW<SmallModel>& adamw,
                            std::size_t others) {
  const std::string path = folder + "/manifest.json";
  Reader reader("manifest", path, folder, read_file(path),
                [&, folder] { load_checkpoint(model, adamw, folder); });
  reader.also_reads(others);
  const auto reject = [&](Cause cause, const std::string& what, const std::string& text) {
    reader.rejects(cause, what, text);
  };
  bad_json(4 << 20, reject);
  reader.misplaced();
  reader.cut_and_appended(true, 11);
  reader.flipped(0, reader.good().size(), true, 13);

  // From here on the checksum of the manifest is right.
  const std::size_t size = read_file(folder + "/model.safetensors").size();
  const struct {
    std::string name, good;
    std::int64_t most;  // the largest value that is accepted
  } fields[] = {{"bytes", std::to_string(size), 0},
                {"format_version", "1", 0},
                {"experts", "3", 0},
                {"step", "0", INT64_MAX},
                {"updates", "0", INT64_MAX},
                {"evaluations_without_gain", "0", INT32_MAX}};
  for (const auto& field : fields) {
    const std::string line = "\"" + field.name + "\": ";
    for (const BadNumber& number : bad_numbers) {
      const Json value = parse_json(number.text);
      const bool taken = value.is_integer() && value.as_double("") >= 0 &&
                         value.as_double("") <= double(field.most);
      if (taken && !(value == Json(INT64_MAX) && field.most == INT32_MAX)) continue;
      reader.rejects(number.cause, "sealed, " + field.name + " " + number.text,
                     sealed(reader.with(line + field.good, line + number.text)));
    }
    reader.rejects(Cause::missing_part, "sealed, without " + field.name,
                   sealed(reader.with("\"" + field.name + "\"", "\"x\"")));
  }
  for (const char* name : {"files", "tensors", "model", "model.safetensors",
                           "optimizer.safetensors", "xxh64", "cursor", "format", "head.weight"}) {
    const std::string quoted_name = std::string("\"") + name + "\"";
    reader.rejects(Cause::missing_part, std::string("sealed, without ") + name,
                   sealed(reader.with(quoted_name, "\"x\"")));
    for (const char* value : {"null", "1", "[]", "\"\""})
      reader.rejects(Cause::missing_part, std::string("sealed, ") + name + " is " + value,
                     sealed(reader.with(quoted_name, quoted_name + ": " + value + ", \"x\"")));
  }
  reader.rejects(Cause::two_sizes, "sealed, one byte more than the file",
                 sealed(reader.with(std::to_string(size), std::to_string(size + 1))));
  // The tree of a JSON value may take 16 MiB.
  reader.allow(16 << 20);
  const auto run = [&](const std::string& value) {
    return sealed(reader.with("\"model\": {", "\"run\": " + value + ", \"model\": {"));
  };
  const std::size_t much = 4 << 20;
  reader.rejects(Cause::nested_types, "sealed, nested",
                 run(repeated("[", 200) + repeated("]", 200)));
  reader.rejects(Cause::count_bound, "sealed, 2 million numbers",
                 run("[" + repeated("0,", much / 2) + "0]"));
  reader.rejects(Cause::count_bound, "sealed, a million empty arrays",
                 run("[" + repeated("[],", much / 3) + "0]"));
  reader.rejects(Cause::count_bound, "sealed, 60000 unknown fields of the model", [&] {
    std::string more;
    for (int i = 0; i < 60000; ++i) more += "\"" + std::to_string(i) + "\": 0,";
    return sealed(reader.with("\"model\": {", "\"model\": {" + more));
  }());
  reader.rejects(
      Cause::length_plus_one, "sealed, a long name in the model",
      sealed(reader.with("\"model\": {", "\"model\": {\"" + std::string(much, 'a') + "\": 1,")));
}

/// Attacks model.safetensors of a checkpoint. All of it is under checksums, so no change of a bit
/// may pass.
inline void attack_checkpoints(const test::ScratchFolder& scratch) {
  SmallBackend backend;
  SmallModel model(backend, {.max_tokens = 6});
  AdamW<SmallModel> adamw(model);
  const std::string folder = scratch / "checkpoint", file = folder + "/model.safetensors";
  save_checkpoint(model, adamw, {}, folder);
  const std::string tensors = read_file(file);
  const std::size_t state = read_file(folder + "/optimizer.safetensors").size();
  const std::size_t manifest = read_file(folder + "/manifest.json").size();
  attack_manifest(folder, model, adamw, tensors.size() + state);
  Reader reader("checkpoint", file, folder, tensors,
                [&] { load_checkpoint(model, adamw, folder); });
  reader.also_reads(state + manifest);
  reader.misplaced();
  reader.cut_and_appended(true, 31);
  reader.flipped(0, tensors.size(), true, 37);
  causes_in_safetensors(reader);
}

inline void attack_char_vocabulary(const test::ScratchFolder& scratch) {
  const std::string path = scratch / "vocabulary.json";
  Reader reader("characters", path, path, "\"abc\\u00e9\"",
                [path] { CharTokenizer::from_json(parse_json(read_file(path), path, 1), path); });
  bad_json(4 << 20, [&](Cause cause, const std::string& what, const std::string& text) {
    if (text != "\"\"") reader.rejects(cause, what, text);
  });
  for (const BadNumber& number : bad_numbers)
    if (number.text[0] != '"') reader.rejects(number.cause, number.text, number.text);
  reader.rejects(Cause::two_sizes, "a character twice", "\"aab\"");
  reader.rejects(Cause::two_sizes, "not sorted", "\"ba\"");
  reader.rejects(Cause::length_plus_one, "4 MB of one character",
                 "\"" + std::string(4 << 20, 'a') + "\"");
  reader.rejects(Cause::length_plus_one, "4 MB of two characters",
                 "\"" + repeated("\xC3\xA9\xC3\xA8", 1 << 20) + "\"");
  reader.misplaced();
  reader.cut_and_appended(true);
  reader.flipped(0, reader.good().size(), false);
}

}  // namespace moe::hostile
