#pragma once
#include <moe/model/config_text.hpp>
#include <moe_lab/cli.hpp>
#include <moe_lab/models.hpp>

// The structure of a model is compiled in. If options ask for another one, a header is written,
// from which the program can be built anew.

namespace simple_moe {

class Structure {
 public:
  explicit Structure(CLI::App& app) {
    const auto add = [&](const char* flag, int& field, const char* help) {
      options_.push_back(app.add_option(flag, field, help)->check(CLI::Range(1, 1 << 20)));
    };
    add("--vocab", vocab_, "Structure: tokens of the vocabulary; 257: bytes");
    add("--dim", dim_, "Structure: width of the model");
    add("--layers", layers_, "Structure: number of layers");
    add("--heads", heads_, "Structure: heads of attention");
    add("--hidden", hidden_, "Structure: width of an expert; default 4 dim");
    add("--context", context_, "Structure: longest sequence");
    add("--experts", experts_, "Structure: experts of a layer");
    add("--top-k", top_k_, "Structure: experts that a token passes through");
    layers_option_ = app.add_option("--moe-layers", moe_layers_,
                                    "Structure: layers with experts: all, alternate (1, 3, 5 ...) "
                                    "or last-half")
                         ->transform(CLI::CheckedTransformer(lab::moe_layers_names));
  }
  Structure(const Structure&) = delete;

  /// `c` with the fields that options replace.
  lab::ModelConfig of(lab::ModelConfig c) const {
    const bool own_hidden = options_[4]->count() == 0 && options_[1]->count() > 0;
    int* const fields[] = {&c.vocab,  &c.dim,     &c.layers,      &c.heads,
                           &c.hidden, &c.context, &c.moe.experts, &c.moe.top_k};
    const int given[] = {vocab_, dim_, layers_, heads_, hidden_, context_, experts_, top_k_};
    for (std::size_t i = 0; i < options_.size(); ++i)
      if (options_[i]->count() > 0) *fields[i] = given[i];
    if (own_hidden) c.hidden = 4 * c.dim;
    if (layers_option_->count() > 0) c = lab::with_moe_layers(c, moe_layers_);
    if (c.moe_layers() == 0)
      throw moe::Error("cannot build a mixture of ", c.layers, " layers with --moe-layers ",
                       moe_layers_,
                       ": no layer would have experts; use more --layers or --moe-layers all");
    if (c.dim % c.heads != 0 || c.dim / c.heads % 2 != 0)
      throw moe::Error("cannot build a model of width ", c.dim, " with ", c.heads,
                       " heads: rotary positions need an even width for each; change --dim or "
                       "--heads");
    if (c.moe.top_k > c.moe.experts)
      throw moe::Error("cannot build a model with top-", c.moe.top_k, " of ", c.moe.experts,
                       " experts: there are not so many; change --top-k or --experts");
    return c;
  }

 private:
  std::vector<CLI::Option*> options_;
  CLI::Option* layers_option_ = nullptr;
  std::string moe_layers_ = "all";
  int vocab_ = 0, dim_ = 0, layers_ = 0, heads_ = 0, hidden_ = 0, context_ = 0, experts_ = 0,
      top_k_ = 0;
};

/// The text of a header for MOE_LAB_MODEL: the model and the numbers of a run.
inline std::string model_header(const lab::ModelConfig& c, const lab::Settings& s) {
  const auto number = [](const char* name, auto value) {
    return "inline constexpr " +
           std::string(std::is_integral_v<decltype(value)> ? "int " : "double ") + name + " = " +
           moe::Json(value).dump() + ";\n";
  };
  return "#pragma once\n#include <moe/core/config.hpp>\n\nnamespace emitted {\n\n"
         "inline constexpr moe::ModelConfig model" +
         moe::to_cpp(c, "\n    ") + ";\n\n" + number("steps", s.steps) +
         number("sequences", s.batch) + number("accumulation", s.accumulation) +
         number("muon_lr", s.muon_lr) + number("adamw_lr", s.adamw_lr) +
         "\n}  // namespace emitted\n";
}

}  // namespace simple_moe
