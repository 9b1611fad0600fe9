#pragma once
#include <array>
#include <cstddef>
#include <moe/core/error.hpp>
#include <moe/core/tensor.hpp>
#include <moe/tree/fields.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// The losses of a forward pass, in nats per token. The auxiliary terms are means over the MoE
/// layers: balance = experts * sum over e of (share of the slots of e) * (mean probability of e),
/// which is 1 when both are even; z = mean of logsumexp(router logits)^2; entropy = mean entropy of
/// a token's probabilities, in nats. total = cross_entropy + balance_weight * balance + z_weight *
/// z - entropy_weight * entropy. For a batch without targets, cross_entropy, total and accuracy are
/// not known (NaN).
struct Loss {
  double cross_entropy = 0, balance = 0, z = 0, entropy = 0, total = 0;
  double accuracy = 0;  // share of targets with the highest logit
  int tokens = 0;       // number of tokens with a target

  /// Adds `weight` times the means of a batch, and its tokens.
  void add(const Loss& batch, double weight);
  /// Divides every mean by `n`: what add() gathered with the numbers of tokens as weights becomes
  /// the mean over all of them. The number of tokens stays.   Test: tests/model/loss.cpp.
  ///
  ///     for (const moe::Loss& batch : batches) sum.add(batch, batch.tokens);
  ///     sum.divide(sum.tokens);
  void divide(double n);
};

inline void Loss::add(const Loss& batch, double weight) {
  const auto add_field = [&](auto& sum, const auto& part) {
    if constexpr (std::is_same_v<decltype(part), const int&>) {
      sum += part;
    } else {
      sum += weight * part;
    }
  };
  for_each_field(add_field, *this, batch);
}

inline void Loss::divide(double n) {
  const auto divide_field = [&](auto& sum) {
    if constexpr (!std::is_same_v<decltype(sum), int&>) sum /= n;
  };
  for_each_field(divide_field, *this);
}

/// What the host reads after a pass: the losses, and how each router of the model routed.
template <int MoeLayers, int Experts>
struct PassReport {
  Loss loss = {};
  struct Routing {
    std::array<double, std::size_t(Experts)> load = {};  // each expert's share of the assignments
    double entropy = 0;  // mean entropy of the router's probabilities, in nats; at most ln(experts)
  };
  std::array<Routing, std::size_t(MoeLayers)> routing = {};

  /// How many numbers kernel::FinishReport writes, and the report that they are.
  static constexpr std::size_t numbers = 6 + std::size_t(MoeLayers * (Experts + 1));
  /// Expects that each router put the tokens into slots.
  static PassReport read(const std::array<double, numbers>& from, int tokens) {
    PassReport report{{from[0], from[1], from[2], from[3], from[4], from[5], tokens}};
    const double* at = from.data() + 6;
    for (Routing& routing : report.routing) {
      double all = 0;
      for (double& share : routing.load) all += share = *at++;
      MOE_EXPECTS(all > 0.5, "router ", &routing - report.routing.data(),
                  " gave no expert a slot: forward of a router of one's own has to call "
                  "group_by_expert with report.offset");
      routing.entropy = *at++;
    }
    return report;
  }
};

/// What a model reads and reports in a pass beside tokens, in the backend's memory.
template <class Report>
struct PassReportMemory {
  Fixed<double, int(Report::numbers)> report;
  Fixed<int, 1> loss_not_finite;
  Fixed<std::uint64_t, 1> step;  // the number of the step, for backends that repeat one
};

/// A pass that may not have been computed yet, between Transformer::queue and Transformer::collect.
/// It must stay where it is in between.
template <class B, class Report>
class PendingPass {
 public:
  /// Queues the copy of a report in the backend's memory, of `tokens` targets.
  void queue(B& be, const double* report, int tokens) {
    tokens_ = tokens;
    ticket_ = be.later(numbers_.data(), report, sizeof numbers_);
    queued_ = true;
  }
  /// Waits for the report. Expects that one was queued since the last.
  Report collect(B& be) {
    MOE_EXPECTS(queued_, "a pass is collected once, after it was queued");
    queued_ = false;
    be.wait(ticket_);
    return Report::read(numbers_, tokens_);
  }

 private:
  std::array<double, Report::numbers> numbers_ = {};
  int tokens_ = 0;
  typename B::Ticket ticket_ = {};
  bool queued_ = false;
};

}  // namespace moe
