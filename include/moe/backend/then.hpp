#pragma once
#include <moe/backend/backend.hpp>

// Products that end with a row kernel. They are verbs that a backend may have: one that can run the
// kernel on rows of C that are still in cache, or in registers, has a function of this name. For
// all others they are the product and then the kernel. The results have the same bits. A class that
// derives from such a backend and replaces `gemm` or `rows` has to replace these functions, too.

namespace moe::inline MOE_ISA {

/// be.gemm(m, n, k, a, b, c, ldc, o), then be.rows(m, kernel), where the kernel of row r reads no
/// other row of C than r, and writes nothing that the product or the kernel of another row reads.
///
///     gemm_then(be, n, hidden, dim, matrix(x), weight, up.data, hidden, {}, activation);
template <class B, class L, class R, class C, class Kernel>
void gemm_then(B& be, int m, int n, int k, Matrix<const L> a, Matrix<const R> b, C* c,
               std::ptrdiff_t ldc, GemmOptions<Wide<B>> o, const Kernel& kernel) {
  if constexpr (requires { be.gemm_then(m, n, k, a, b, c, ldc, o, kernel); }) {
    be.gemm_then(m, n, k, a, b, c, ldc, o, kernel);
  } else {
    be.gemm(m, n, k, a, b, c, ldc, o);
    be.rows(m, kernel);
  }
}

/// be.grouped_gemm_m(slots, ...), then be.rows(slots.count, kernel), with the conditions of
/// gemm_then. Rows that are in no segment may be left out.
template <class B, class L, class R, class C, class Kernel>
void grouped_gemm_m_then(B& be, Segments slots, int n, int k, Matrix<const L> a, Matrix<const R> b,
                         std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc, GemmOptions<Wide<B>> o,
                         std::ptrdiff_t bias_step, const Kernel& kernel) {
  if constexpr (requires {
                  be.grouped_gemm_m_then(slots, n, k, a, b, b_step, c, ldc, o, bias_step, kernel);
                }) {
    be.grouped_gemm_m_then(slots, n, k, a, b, b_step, c, ldc, o, bias_step, kernel);
  } else {
    be.grouped_gemm_m(slots, n, k, a, b, b_step, c, ldc, o, bias_step);
    be.rows(slots.count, kernel);
  }
}

}  // namespace moe
