#pragma once
#include <algorithm>
#include <cstddef>
#include <moe/backend/backend.hpp>
#include <moe/kernels/gradient_norm.hpp>
#include <moe/tree/leaves.hpp>
#include <vector>

namespace moe::inline MOE_ISA {

/// Measures the L2 norm of a gradient over all leaves except expert biases, which hold loads, not
/// gradients, and decides in the backend's memory about the update; see kernel::DecideStep.
/// Chunks of fixed length are summed in Wide, and their sums added in double, in a fixed order: the
/// same bits for any number of threads. A value whose square overflows counts as not finite.
/// Never throws, waits or allocates after construction.  Test: tests/optim/gradient_norm.cpp.
///
///     moe::GradientNorm norm{backend, model.grads()};
///     norm.decide(/*clip=*/1.0, loss_not_finite, control);  // both in the backend's memory
template <class B, class Params>
class GradientNorm {
  using T = Wide<B>;
  using Chunk = kernel::GradientChunk<T>;
  using Matrix = kernel::GradientMatrix;

 public:
  GradientNorm(B& be, Params& grads) : be_(&be), arena_(be, bytes_needed()) {
    std::vector<Chunk> chunks;
    std::vector<Matrix> matrices;
    int number = 0;
    for (const LeafInfo& info : leaves<Params>()) {
      const auto leaf = view<T>(grads, info);
      const std::ptrdiff_t size = std::ptrdiff_t(info.rows) * info.cols;
      for (int i = 0; measured(info) && i < info.count; ++i) {
        matrices.push_back({int(chunks.size()), kernel::chunks(size), number});
        most_chunks_ = std::max(most_chunks_, kernel::chunks(size));
        for (std::ptrdiff_t at = 0; at < size; at += kernel::chunk)
          chunks.push_back(
              {leaf.matrix(i) + at, int(std::min<std::ptrdiff_t>(kernel::chunk, size - at))});
      }
      ++number;
    }
    chunks_ = int(chunks.size()), matrices_ = int(matrices.size());
    std::byte* at = arena_.data();
    const auto place = [&]<class X>(X*& to, int count) {
      to = reinterpret_cast<X*>(at);
      at += rounded(sizeof(X) * std::size_t(count));
    };
    place(chunk_, chunks_), place(matrix_, matrices_), place(partial_, chunks_);
    place(square_, matrices_);
    be.upload(chunk_, chunks.data(), chunks.size() * sizeof(Chunk));
    be.upload(matrix_, matrices.data(), matrices.size() * sizeof(Matrix));
  }

  /// Queues the decision about an update. `loss_not_finite` is read and set to 0.
  void decide(double clip, int* loss_not_finite, kernel::StepControl* control) {
    be_->rows(chunks_, kernel::GradientSquare<T>{chunk_, partial_});
    be_->rows(matrices_, kernel::MatrixSquare<T>{matrix_, partial_, square_, most_chunks_});
    be_->rows(1, kernel::DecideStep{matrices_, matrix_, square_, clip, loss_not_finite, control});
  }

  /// The squared norms of the matrices of all measured leaves, in order, in the backend's memory.
  const double* squares() const { return square_; }

  /// The bytes of the backend's memory that a GradientNorm holds.
  static std::size_t bytes_needed() {
    std::size_t chunks = 0, matrices = 0;
    for (const LeafInfo& leaf : leaves<Params>()) {
      if (!measured(leaf)) continue;
      const int each = kernel::chunks(std::ptrdiff_t(leaf.rows) * leaf.cols);
      chunks += std::size_t(leaf.count) * std::size_t(each);
      matrices += std::size_t(leaf.count);
    }
    return rounded(chunks * sizeof(Chunk)) + rounded(matrices * sizeof(Matrix)) +
           rounded(chunks * sizeof(T)) + rounded(matrices * sizeof(double));
  }

  /// True if a leaf counts towards the norm.
  static bool measured(const LeafInfo& leaf) { return leaf.role != Role::expert_bias; }

 private:
  static std::size_t rounded(std::size_t bytes) {
    return (bytes + leaf_alignment - 1) / leaf_alignment * leaf_alignment;
  }

  B* be_;
  Arena<B> arena_;
  Chunk* chunk_;
  Matrix* matrix_;
  T* partial_;
  double* square_;
  int chunks_, matrices_, most_chunks_ = 0;
};

}  // namespace moe
