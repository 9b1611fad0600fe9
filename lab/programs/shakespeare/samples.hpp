#pragma once
#include <moe/moe.hpp>
#include <optional>

#include "program.hpp"

// Samples that the model writes while it trains, printed and kept in OUT/samples.jsonl. Sampling
// has its own random streams, so the run has the same bits as without samples.

namespace shakespeare {

/// The text with the replacement character for every byte that is not valid UTF-8. A model of bytes
/// writes such bytes early in training.
inline std::string readable_text(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t begin = at;
    if (moe::next_code_point(bytes, at) < 0) {
      moe::append_code_point(text, 0xFFFD);
      ++at;
    } else {
      text += bytes.substr(begin, at - begin);
    }
  }
  return text;
}

class Samples {
 public:
  /// `resumed_at`: the step that a resumed run goes on from; -1 for a new one.
  Samples(const TrainRequest& request, const Vocabulary& vocabulary, std::int64_t resumed_at)
      : request_(request), vocabulary_(vocabulary), resumed_at_(resumed_at) {}

  bool is_due(std::int64_t step) const {
    const Settings& s = request_.settings;
    return s.sample_every > 0 && (step % s.sample_every == 0 || step == s.steps);
  }

  /// Writes one sample to the file and returns the text for the screen. If the model fails, for
  /// example because its logits are not finite, returns the reason.
  template <class Transformer>
  std::string take(Transformer& model, std::int64_t step) {
    const std::string prompt = vocabulary_.default_prompt();
    std::string text;
    try {
      const auto tokens =
          moe::generate_tokens(model, vocabulary_.encode(prompt, "the prompt"),
                               {.tokens = 200,
                                .temperature = 0.8,
                                .seed = request_.settings.seed + std::uint64_t(step),
                                .vocab = vocabulary_.size()});
      text = readable_text(vocabulary_.decode(tokens));
      if (!file_) file_.emplace(request_.common.out + "/samples.jsonl", resumed_at_);
      moe::Json row;
      row["step"] = step;
      row["text"] = text;
      file_->write(row);
    } catch (const moe::Error& error) {
      return "no sample: " + error.sentence();
    }
    return "sample after step " + std::to_string(step) + ":\n" + text + "\n";
  }

 private:
  const TrainRequest& request_;
  const Vocabulary& vocabulary_;
  std::int64_t resumed_at_;
  std::optional<moe::MetricsWriter> file_;
};

}  // namespace shakespeare
