#pragma once
#include <algorithm>
#include <cmath>
#include <span>

// How the loss of a language model depends on its size and its data. docs/scaling.md has the
// source of each constant.

namespace scale {

/// L(N, D) = e + a / N^alpha + b / D^beta.   Units: nats per token; N parameters, D tokens.
/// Source: Hoffmann et al. 2022, arXiv:2203.15556, approach 3.  Test: tests/lab/scale_model.cpp.
///
///     const double nats = scale::besiroglu.loss(1e9, 20e9);
struct Law {
  const char* name;
  double e, a, b, alpha, beta;

  double loss(double parameters, double tokens) const {
    return e + a / std::pow(parameters, alpha) + b / std::pow(tokens, beta);
  }
};

/// As published, rounded.
inline constexpr Law hoffmann{"Hoffmann et al. 2022", 1.69, 406.4, 410.7, 0.34, 0.28};
/// A refit to the same runs, arXiv:2404.10102. Its optimum agrees with Hoffmann's other two
/// approaches; that of the published constants does not.
inline constexpr Law besiroglu{"Besiroglu et al. 2024", 1.8172, 482.01, 2085.43, 0.3478, 0.3658};

/// The range of the runs that the constants were fitted to. Outside it a prediction is an
/// extrapolation.
inline constexpr double least_fitted_parameters = 57e6, most_fitted_parameters = 16e9;
inline constexpr double least_fitted_tokens = 0.25e9, most_fitted_tokens = 320e9;

struct Optimum {
  double parameters, tokens;
};

/// The least loss for C = 6 N D operations:  N = G (C/6)^(beta/(alpha+beta)),  D = C / (6 N),
/// G = (alpha a / (beta b))^(1/(alpha+beta)).   Source: Hoffmann et al. 2022, eq. 4.
inline Optimum optimum(const Law& law, double flops) {
  const double sum = law.alpha + law.beta;
  const double g = std::pow(law.alpha * law.a / (law.beta * law.b), 1 / sum);
  const double n = g * std::pow(flops / 6, law.beta / sum);
  return {n, flops / 6 / n};
}

/// The size whose optimal number of tokens is D: where alpha a / N^alpha = beta b / D^beta.
inline double optimal_parameters(const Law& law, double tokens) {
  const double share = law.beta * law.b / std::pow(tokens, law.beta);
  return std::pow(law.alpha * law.a / share, 1 / law.alpha);
}

/// The expected loss of a mixture. The pessimistic bound is the loss of a dense model with as many
/// parameters as are active, for the same work. The optimistic one is that of a dense model with
/// sqrt(active * total) parameters: a rule of thumb, not a fitted law.
struct LossRange {
  double as_active = 0, as_geometric_mean = 0;  // by the chosen law
  double expected = 0;                          // half way between the two
  double low = 0, high = 0;                     // over all laws given
};

/// The first law is the chosen one.
inline LossRange loss_range(std::span<const Law> laws, double active, double total, double tokens) {
  const double mean = std::sqrt(active * total);
  LossRange range;
  for (const Law& law : laws) {
    const double pessimistic = law.loss(active, tokens), optimistic = law.loss(mean, tokens);
    if (&law == &laws.front()) {
      range = {pessimistic, optimistic, (pessimistic + optimistic) / 2, optimistic, pessimistic};
    }
    range.low = std::min(range.low, optimistic);
    range.high = std::max(range.high, pessimistic);
  }
  return range;
}

}  // namespace scale
