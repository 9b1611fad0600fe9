#pragma once
#include <algorithm>
#include <moe/moe.hpp>
#include <moe_lab/data.hpp>
#include <moe_lab/format.hpp>
#include <moe_lab/signals.hpp>

// Measures which tokens go to which expert.

namespace growth {

/// One token of the vocabulary in one expert. `share`: the share of the token's occurrences for
/// which this expert was among the chosen ones, from 0 to 1.
struct Word {
  std::string text;
  double share = 0;
  std::int64_t count = 0;  // how often it was sent to this expert
};

/// What one expert of one layer is chosen for.
struct ExpertWords {
  double load = 0;  // its share of the layer's assignments
  std::vector<Word> words = {};
};

/// [MoE layer][expert].
using Specialisation = std::vector<std::vector<ExpertWords>>;

/// Runs the model over the windows and counts every choice of its routers. Lists for each expert at
/// most `most_words` tokens, those with the largest share (then count) among tokens with at least
/// `least` assignments in the layer. Returns an empty list after a signal.
/// Test: tests/programs/upcycle.py.
template <class Model>
Specialisation specialisation(Model& model, const moe::DisjointWindows& windows,
                              const moe::BpeTokenizer& tokenizer, int most_batches,
                              int most_words = 8, std::int64_t least = 16) {
  constexpr moe::ModelConfig config = Model::config;
  constexpr std::size_t layers = std::size_t(config.moe_layers()),
                        experts = std::size_t(config.moe.experts),
                        top_k = std::size_t(config.moe.top_k), vocab = config.vocab;
  std::vector<std::int64_t> counts(layers * experts * vocab);
  std::vector<int> chosen;
  for (int i = 0; i < std::min(windows.batches(), most_batches); ++i) {
    if (lab::signals::interrupted()) return {};
    const moe::Batch batch = windows.batch(i);
    model.forward(batch, false);
    const std::size_t n = std::size_t(batch.sequences) * std::size_t(batch.length);
    chosen.resize(n * top_k);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const auto& router = model.cache().blocks.template of<true>(int(layer)).ffn.router;
      model.backend().download(chosen.data(), router.expert.data, chosen.size() * sizeof(int));
      for (std::size_t slot = 0; slot < chosen.size(); ++slot)
        ++counts[(layer * experts + std::size_t(chosen[slot])) * vocab +
                 std::size_t(batch.tokens[slot / top_k])];
    }
  }
  Specialisation all(layers, std::vector<ExpertWords>(experts));
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const auto at = [&](std::size_t expert, std::size_t token) {
      return counts[(layer * experts + expert) * vocab + token];
    };
    std::int64_t sum = 0;
    for (std::size_t expert = 0; expert < experts; ++expert)
      for (std::size_t token = 0; token < vocab; ++token) sum += at(expert, token);
    for (std::size_t expert = 0; expert < experts; ++expert) {
      ExpertWords& own = all[layer][expert];
      std::int64_t load = 0;
      for (std::size_t token = 0; token < vocab; ++token) {
        std::int64_t total = 0;
        for (std::size_t e = 0; e < experts; ++e) total += at(e, token);
        load += at(expert, token);
        if (total < least || at(expert, token) == 0) continue;
        own.words.push_back({std::string(tokenizer.bytes_of(std::int32_t(token))),
                             double(at(expert, token)) * double(top_k) / double(total),
                             at(expert, token)});
      }
      own.load = double(load) / double(std::max<std::int64_t>(1, sum));
      std::stable_sort(own.words.begin(), own.words.end(), [](const Word& a, const Word& b) {
        return a.share != b.share ? a.share > b.share : a.count > b.count;
      });
      if (own.words.size() > std::size_t(most_words)) own.words.resize(std::size_t(most_words));
    }
  }
  return all;
}

/// The bytes of a token as printable ASCII: line breaks and other bytes are written as in C.
inline std::string visible(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    if (c == '\n')
      text += "\\n";
    else if (c >= ' ' && c <= '~')
      text += c;
    else
      text += lab::format("\\x%02x", unsigned(static_cast<unsigned char>(c)));
  }
  return text;
}

/// A line for every expert: its load, and its tokens with their shares.
inline std::string describe(const Specialisation& all, int shown = 5) {
  std::string text = "which tokens go to which expert (share of a token's occurrences)\n";
  for (std::size_t layer = 0; layer < all.size(); ++layer) {
    for (std::size_t e = 0; e < all[layer].size(); ++e) {
      const ExpertWords& own = all[layer][e];
      text += lab::format("  layer %zu expert %2zu, load %.3f:", layer, e, own.load);
      for (std::size_t i = 0; i < own.words.size() && i < std::size_t(shown); ++i)
        text += lab::format("  \"%s\" %.0f %%", visible(own.words[i].text).c_str(),
                            100 * own.words[i].share);
      text += "\n";
    }
  }
  return text;
}

inline moe::Json to_json(const Specialisation& all) {
  moe::Json json = moe::Json::array();
  for (const auto& layer : all) {
    moe::Json experts = moe::Json::array();
    for (const ExpertWords& own : layer) {
      moe::Json one, words = moe::Json::array();
      for (const Word& word : own.words) {
        moe::Json entry;
        entry["token"] = visible(word.text);
        entry["share"] = word.share;
        entry["count"] = word.count;
        words.push_back(std::move(entry));
      }
      one["load"] = own.load;
      one["tokens"] = std::move(words);
      experts.push_back(std::move(one));
    }
    json.push_back(std::move(experts));
  }
  return json;
}

}  // namespace growth
