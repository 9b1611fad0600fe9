#pragma once
#include <algorithm>
#include <cstdio>
#include <moe/core/error.hpp>
#include <moe/io/files.hpp>
#include <moe_lab/common.hpp>
#include <moe_lab/compiled.hpp>
#include <moe_lab/names.hpp>
#include <string>
#include <vector>

// --precision: the type of the activations, the same for all models of a run or a study. The
// parameters, gradients, the optimizer, routers and sums are float in any case, so checkpoints of
// both kinds can be loaded by either.

namespace lab {

inline const Names precisions = {"float", "bf16", "auto"};
inline constexpr const char* precision_help =
    "Type of the activations: float (default), bf16, or auto: what is measured to be faster here";

/// The name under which a model is compiled in this precision: "tiny", or "tiny bf16".
inline std::string variant(const std::string& model, const std::string& precision) {
  return precision == "bf16" ? model + " bf16" : model;
}

/// The precision that --precision auto takes, from the rates of products in both.   Units: any, the
/// same for both.   Test: tests/lab/precision.cpp.
inline std::string faster_precision(double float_rate, double bf16_rate) {
  // A step is more than products: activations are also rounded to bf16 and widened again, which
  // float is spared. So products must gain clearly, for a step to gain at all.
  constexpr double least_gain = 1.3;
  return bf16_rate >= least_gain * float_rate ? "bf16" : "float";
}

/// The precision for models of type M with the names `models`: the one that is asked for, or, for
/// auto, the one in which products of the size of the first model are measured to be faster, which
/// a line on stderr tells.
/// Errors: bf16 is asked for, and a model is not compiled with it.
///
///     request.precision = lab::chosen_precision<Model>(request.precision, {"demo"}, threads);
template <class M>
std::string chosen_precision(const std::string& asked, const std::vector<std::string>& models,
                             int threads) {
  const auto lacks_bf16 = [](const std::string& name) {
    return find_compiled<M>(variant(name, "bf16")) == nullptr;
  };
  const auto lacking = std::find_if(models.begin(), models.end(), lacks_bf16);
  if (asked == "bf16" && lacking != models.end())
    throw moe::Error("cannot compute model '", *lacking,
                     "' in bf16: it was left out when this program was built, to save time; "
                     "configure with cmake -D 'MOE_LAB_BF16=.*' and build again, or use "
                     "--precision float");
  if (asked != "auto") return asked;
  if (lacking != models.end()) {
    std::fprintf(stderr,
                 "note: --precision auto takes float: model '%s' is not compiled in bf16 (see "
                 "MOE_LAB_BF16 in lab/CMakeLists.txt)\n",
                 lacking->c_str());
    return "float";
  }
  // In turn, and the best of three each: what else the machine does hits both alike.
  double rates[2] = {};
  for (int i = 0; i < 3; ++i)
    for (const int half : {0, 1}) {
      const M& model = get_compiled<M>(variant(models.front(), half ? "bf16" : "float"));
      rates[half] = std::max(rates[half], model.product_gflops(threads));
    }
  std::string faster = faster_precision(rates[0], rates[1]);
  std::fprintf(stderr,
               "note: --precision auto takes %s: products of this model run at %.0f GFLOP/s in "
               "float and at %.0f in bf16\n",
               faster.c_str(), rates[0], rates[1]);
  return faster;
}

/// As above, for a run or a study that may be resumed. `begun`: the precision that it was begun
/// with, or "" if it begins now; auto takes that one again. The command, which is printed to repeat
/// the experiment, then names what was chosen.
/// Errors: it was begun with another precision.
template <class M>
void settle_precision(std::string& precision, Common& common, const std::string& begun,
                      const std::vector<std::string>& models) {
  const bool automatic = precision == "auto";
  if (automatic && !begun.empty()) {
    precision = begun;
    std::fprintf(stderr, "note: --precision auto takes %s, with which '%s' was begun\n",
                 begun.c_str(), common.out.c_str());
  } else if (!begun.empty() && precision != begun) {
    throw moe::Error("cannot resume '", common.out, "' with --precision ", precision,
                     ": it was begun with ", begun,
                     ", and a run that changes in the middle is neither; give --precision ", begun,
                     ", or another --out");
  }
  precision = chosen_precision<M>(precision, models, common.threads);
  const std::string flag = " --precision ";
  if (const std::size_t at = common.command.find(flag.substr(0, flag.size() - 1));
      automatic && at != std::string::npos)
    common.command.replace(at, flag.size() + 4, flag + precision);
}

/// The precision that the experiment to resume was begun with, by the settings in its folder, or ""
/// if there is none. In those of older versions only the name of a model may tell that it is bf16.
inline std::string precision_begun(const Common& common) {
  if (!common.resume) return "";
  for (const char* name : {"/settings.json", "/study.json"}) {
    const std::string file = common.out + name;
    if (!moe::detail::exists(file)) continue;
    const std::string saved = moe::read_file(file);
    for (const char* word : {"\"precision\": \"bf16\"", " bf16\""})
      if (saved.find(word) != std::string::npos) return "bf16";
    return "float";
  }
  return "";
}

/// Whether a file of settings has this text. One of an older version does not name the precision.
inline bool holds_settings(const std::string& file, std::string text) {
  const std::string saved = moe::read_file(file);
  const bool half = saved.find(" bf16\"") != std::string::npos;
  const std::string line = std::string("\"precision\": \"") + (half ? "bf16" : "float") + "\",\n";
  const std::size_t at = text.find(line);
  if (saved.find("\"precision\"") == std::string::npos && at != std::string::npos) {
    const std::size_t begin = text.rfind('\n', at) + 1;
    text.erase(begin, at + line.size() - begin);
  }
  return saved == text;
}

}  // namespace lab
