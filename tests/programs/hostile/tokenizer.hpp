#pragma once
#include "checkpoint.hpp"
#include "data/tokenizer_files.hpp"

namespace moe::hostile {

/// Attacks: vocabularies {"token": id, ...} with errors. `good` is one whose first id is 0.
template <class F>
void bad_vocabularies(const std::string& good, F&& reject) {
  const auto with = [&](const std::string& part, const std::string& other) {
    return std::string(good).replace(good.find(part), part.size(), other);
  };
  for (const BadNumber& number : bad_numbers)
    reject(number.cause, std::string("id ") + number.text,
           with(":0,", std::string(":") + number.text + ","));
  reject(Cause::fixed_array, "an id behind the last", with(":0,", ":99999,"));
  reject(Cause::two_sizes, "an id twice", with(":0,", ":1,"));
  reject(Cause::two_sizes, "a token twice", with("\"!\":0,", "\"!\":0,\"!\":258,"));
  reject(Cause::missing_part, "an empty token", with("\"!\"", "\"\""));
  reject(Cause::missing_part, "no tokens but one", R"({"a":99999})");
  reject(Cause::assert_as_check, "a token of other characters", with("\"!\"", "\"\xE4\xB8\x96\""));
  reject(Cause::nested_types, "a vocabulary in the vocabulary",
         with(":0,", ":" + repeated("{\"a\":", 5000)));
  for (const std::string& name : {std::string(4 << 20, 'a'), repeated("aaaaaaa\\n", 1 << 19)}) {
    const std::string what = " of " + name.substr(0, 9) + "...";
    reject(Cause::length_plus_one, "a token" + what + " with a bad id",
           with("\"!\":0,", "\"" + name + "\":-1,"));
    reject(Cause::length_plus_one, "a token" + what + " with an id too high",
           with("\"!\":0,", "\"" + name + "\":99999999,"));
    reject(Cause::length_plus_one, "a token" + what + " twice",
           with("\"!\":0,", "\"" + name + "\":0,\"" + name + "\":1,"));
  }
  std::string many = "{", wrong = "{";
  for (int i = 0; i < 300000; ++i) {
    many += "\"" + std::to_string(i) + "\":" + std::to_string(i) + ",";
    wrong += "\"" + std::to_string(i) + "\":0,";
  }
  reject(Cause::header_counts, "300000 tokens, then nothing", many);
  reject(Cause::count_bound, "300000 tokens and a bad one", many + "\"a\":-1}");
  reject(Cause::count_bound, "300000 tokens and one of no bytes",
         many + "\"\xE4\xB8\x96\":300000}");
  reject(Cause::count_bound, "300000 tokens and an id too high", many + "\"a\":2147483647}");
  reject(Cause::count_bound, "300000 tokens of id 0", wrong + "\"a\":0}");
  reject(Cause::array_times_size, "colons", "{\"" + std::string(4 << 20, ':') + "\":-1}");
  reject(Cause::nested_types, "a million lists",
         with(":0,", ":[" + repeated("[],", 1000000) + "0],"));
}

inline void attack_vocabulary_files(const test::ScratchFolder& scratch,
                                    const test::TokenizerParts& parts) {
  const std::string vocabulary = scratch / "vocab.json", merges = scratch / "merges.txt";
  const auto read = [=] { BpeTokenizer::from_files(vocabulary, merges); };
  put_file(vocabulary, parts.vocabulary_json());
  put_file(merges, parts.merges_txt());
  {
    Reader reader("vocab.json", vocabulary, vocabulary, parts.vocabulary_json(), read);
    reader.also_reads(parts.merges_txt().size());
    const auto reject = [&](Cause cause, const std::string& what, const std::string& text) {
      reader.rejects(cause, what, text);
    };
    bad_json(4 << 20, [&](Cause cause, const std::string& what, const std::string& text) {
      if (text != "\xEF\xBB\xBF{}") reject(cause, what, text);  // that one names merges.txt
    });
    bad_vocabularies(reader.good(), reject);
    reader.misplaced();
    reader.cut_and_appended(true, 3);
    reader.flipped(0, 200, false);
  }
  Reader reader("merges.txt", merges, merges, parts.merges_txt(), read);
  reader.also_reads(parts.vocabulary_json().size());
  const auto reject = [&](Cause cause, const std::string& what, const std::string& text) {
    reader.rejects(cause, what, text);
  };
  const std::string good = reader.good();
  for (const char* line : {"a", "a ", " b", "a  b", "a b c", "a\tb", "zz a", "a zz", "z z",
                           "\xFF a", "\xE4\xB8\x96 a"})
    reject(Cause::index_from_text, "line " + Json(readable(line)).dump(), good + line + "\n");
  reject(Cause::assert_as_check, "a version of the future", "#version: 1.0\na b\n");
  for (const std::string& part : {std::string(4 << 20, 'a'), repeated("\xC4\xA0", 2 << 20)}) {
    reject(Cause::length_plus_one, "a line of 4 MB", good + part);
    reject(Cause::length_plus_one, "a part of 4 MB", good + part + " a\n");
    reject(Cause::length_plus_one, "two parts of 4 MB", good + part + " " + part + "\n");
  }
  reject(Cause::header_counts, "a million times the same merge",
         "#version: 0.2\n" + repeated("a b\n", 1000000));
  reject(Cause::nested_types, "a tree instead", parts.vocabulary_json());
  reject(Cause::error_paths, "bytes of another file", std::string(4 << 20, '\0'));
  reader.misplaced(true);
  reader.cut_and_appended(false);
  reader.flipped(0, good.size(), false);
}

inline void attack_tokenizer_json(const test::ScratchFolder& scratch, test::TokenizerParts parts) {
  const std::string path = scratch / "tokenizer.json";
  parts.added = R"([{"id":258,"content":"<|endoftext|>","special":true,"single_word":false}])";
  Reader reader("tokenizer.json", path, path, parts.json(),
                [path] { BpeTokenizer::from_tokenizer_json(path); });
  const auto reject = [&](Cause cause, const std::string& what, const std::string& text) {
    reader.rejects(cause, what, text);
  };
  bad_json(4 << 20, reject);
  const auto changed = [&](auto change) {
    test::TokenizerParts other = parts;
    change(other);
    return other.json();
  };
  bad_vocabularies(parts.vocabulary_json(),
                   [&](Cause cause, const std::string& what, const std::string& text) {
                     reject(cause, what, changed([&](auto& p) { p.vocabulary = text; }));
                   });
  const auto added = [&](Cause cause, const std::string& what, const std::string& list) {
    reject(cause, "added_tokens " + what, changed([&](auto& p) { p.added = list; }));
  };
  for (const BadNumber& number : bad_numbers)
    added(number.cause, std::string("id ") + number.text,
          std::string(R"([{"content":"<|endoftext|>","id":)") + number.text + "}]");
  added(Cause::two_sizes, "another id", R"([{"id":3,"content":"<|endoftext|>"}])");
  added(Cause::fixed_array, "an id behind the last", R"([{"id":99999,"content":"new"}])");
  added(Cause::missing_part, "no content", R"([{"id":258}])");
  added(Cause::missing_part, "null", "[null]");
  added(Cause::nested_types, "lists", "[" + repeated("[],", 1000000) + "[]]");
  added(Cause::length_plus_one, "4 MB of content",
        R"([{"id":99999999,"content":")" + std::string(4 << 20, 'a') + "\"}]");
  std::string many = "[";
  for (int i = 0; i < 60000; ++i)
    many += R"({"id":)" + std::to_string(259 + i) + R"(,"content":")" + std::to_string(i) + "\"},";
  added(Cause::count_bound, "60000, then one of no id", many + R"({"content":"a"}])");
  added(Cause::count_bound, "60000, then an id too high",
        many + R"({"id":2147483647,"content":"a"}])");
  const auto merges = [&](Cause cause, const std::string& what, const std::string& list) {
    reject(cause, "merges " + what, reader.with("\"merges\":[", "\"merges\":[" + list + ","));
  };
  for (const BadNumber& number : bad_numbers) merges(number.cause, number.text, number.text);
  for (const char* merge : {R"("")", R"("a")", R"("a  b")", R"(["a"])", R"(["a","b","c"])",
                            R"([["a"],"b"])", R"("zz a")", R"(["a",1])"})
    merges(Cause::fixed_array, merge, merge);
  merges(Cause::length_plus_one, "4 MB", "\"" + std::string(4 << 20, 'a') + "\"");
  merges(Cause::length_plus_one, "4 MB in two parts",
         "[\"" + std::string(4 << 20, 'a') + "\",\"a\"]");
  merges(Cause::header_counts, "a million times", repeated("\"a b\",", 1000000) + "0");
  const auto steps = [&](Cause cause, const std::string& what, const std::string& text) {
    reject(cause, "pre_tokenizer " + what, changed([&](auto& p) { p.pre_tokenizer = text; }));
  };
  steps(Cause::missing_part, "null", "null");
  steps(Cause::nested_types, "in itself",
        repeated(R"({"type":"Sequence","pretokenizers":[)", 5000));
  steps(Cause::fixed_array, "9 steps",
        R"({"type":"Sequence","pretokenizers":[)" + repeated(R"({"type":"Digits"},)", 8) +
            R"({"type":"ByteLevel"}]})");
  steps(Cause::count_bound, "a million steps",
        R"({"type":"Sequence","pretokenizers":[)" + repeated("{},", 1000000) + "{}]}");
  steps(Cause::length_plus_one, "4 MB of type", R"({"type":")" + std::string(4 << 20, 'a') + "\"}");
  reader.misplaced();
  reader.cut_and_appended(true, 5);
  reader.flipped(0, 400, false, 3);
}

inline void attack_tokenizers(const test::ScratchFolder& scratch) {
  test::TokenizerParts parts;
  parts.merges = {"a b", "ab c"};
  attack_vocabulary_files(scratch, parts);
  attack_tokenizer_json(scratch, parts);
}

}  // namespace moe::hostile
