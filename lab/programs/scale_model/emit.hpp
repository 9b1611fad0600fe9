#pragma once
#include <moe/io/files.hpp>
#include <moe/model/config_text.hpp>

#include "report.hpp"

// Writes a plan as a header that a program can include.

namespace scale {

/// The header: namespace emitted with `model`, `steps`, `sequences`, `accumulation`, `muon_lr`,
/// `adamw_lr`. `command` is repeated in a comment; characters that could end or continue the
/// comment become '?'.
inline std::string header(const Plan& p, const Request& r, std::string command) {
  for (char& c : command)
    if (c < ' ' || c > '~' || c == '\\') c = '?';
  using detail::duration, detail::grouped, detail::line;
  std::string out =
      "#pragma once\n// Written by scale_model: a model and the numbers to train it with.\n//   " +
      command + "\n";
  out += line("// Expects %s tokens in %s on %d x %s for $%.4g, and a loss of",
              grouped(p.tokens).c_str(), duration(p.hours).c_str(), p.gpus, p.device.name.c_str(),
              p.cost);
  out +=
      line("// %.2f to %.2f nats a token on web text. What is assumed for that: docs/scaling.md.",
           p.loss.low, p.loss.high);
  out += line("// %s parameters, %s of them active; %.3f GB for training.",
              grouped(p.parameters.total).c_str(), grouped(p.parameters.active).c_str(),
              p.memory.total() * 1e-9);
  out += "#include <moe/core/config.hpp>\n\nnamespace emitted {\n\n";
  out += "inline constexpr moe::ModelConfig model" + moe::to_cpp(p.config, "\n    ") + ";\n";
  out +=
      "\n// An update is `accumulation` batches of `sequences` sequences of model.context "
      "tokens.\n";
  out += line("inline constexpr int steps = %d, sequences = %d, accumulation = %d;", p.steps,
              p.sequences, p.accumulation);
  out += "inline constexpr double muon_lr = " + moe::Json(r.muon_lr).dump() +
         ", adamw_lr = " + moe::Json(r.adamw_lr).dump() + ";\n";
  return out + "\n}  // namespace emitted\n";
}

/// Writes the header, whole or not at all. A file with other content is only replaced if `force`,
/// because the user may have edited an emitted header.
inline void write_header(const std::string& path, const std::string& text, bool force) {
  if (!force && moe::detail::exists(path) && moe::read_file(path) != text)
    throw moe::Error("cannot write '", path,
                     "': a file with another content is there; choose another path or add --force "
                     "to replace it");
  moe::write_file(path, text);
}

}  // namespace scale
