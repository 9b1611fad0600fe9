#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <moe/backend/reference.hpp>
#include <new>
#include <set>
#include <string>
#include <typeinfo>
#include <vector>

// A backend that behaves as a device does, where the processor can see what is wrong.

namespace moe::test {

/// Whether kernels are searched for addresses: the compiler has to clear what lies between their
/// members, which may hold any old address.
#if defined(__has_builtin) && __has_builtin(__builtin_clear_padding)
inline constexpr bool scans_kernels = true;
#else
inline constexpr bool scans_kernels = false;
#endif

/// Reference, with memory that only the verbs of the backend can read or write: between them every
/// access ends the program. What is copied to the host with `later` arrives at `wait` and not
/// before. It counts its verbs, and finds addresses of host memory that are given to kernels and
/// products. All its memory comes from one region of 1 GiB, and none is used twice.
template <class W, class T = W>
class Detached {
  using Oracle = Reference<W, T>;

 public:
  using Value = T;
  using Wide = W;

  std::map<std::string, int> calls;     // of each verb
  std::set<std::string> host_pointers;  // verbs that got any, with the kernel

  Detached() {
    void* const region =
        ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) throw std::bad_alloc();
    region_ = static_cast<std::byte*>(region);
  }
  ~Detached() { ::munmap(region_, size); }
  Detached(const Detached&) = delete;

  std::byte* allocate(std::size_t bytes) {
    const Open open(*this, "allocate");
    std::byte* const block = region_ + used_;
    used_ += (bytes + 4095) / 4096 * 4096;
    if (used_ > size) throw std::bad_alloc();
    ::mprotect(region_, used_, PROT_READ | PROT_WRITE);
    return block;
  }
  void release(std::byte*, std::size_t) {}
  void zero(void* to, std::size_t bytes) {
    verb("zero", {to}, [&] { oracle_.zero(to, bytes); });
  }
  void copy(void* to, const void* from, std::size_t bytes) {
    verb("copy", {to, from}, [&] { oracle_.copy(to, from, bytes); });
  }
  void upload(void* to, const void* from, std::size_t bytes) {
    verb("upload", {to}, [&] { oracle_.upload(to, from, bytes); });
  }
  void download(void* to, const void* from, std::size_t bytes) {
    verb("download", {from}, [&] { oracle_.download(to, from, bytes); });
  }
  void synchronize() {
    ++calls["synchronize"];
    deliver(copies_.size());
  }

  struct Ticket {
    std::size_t number = 0;
  };
  Ticket later(void* to, const void* from, std::size_t bytes) {
    verb("later", {from}, [&] {
      const auto* const first = static_cast<const std::byte*>(from);
      copies_.push_back({to, {first, first + bytes}});
      std::memset(to, 0xFF, bytes);  // NaN: whoever reads too early shall notice
    });
    return {copies_.size()};
  }
  bool ready(Ticket ticket) const { return ticket.number <= delivered_; }
  void wait(Ticket ticket) {
    ++calls["wait"];
    deliver(ticket.number);
  }

  static constexpr bool whole_stacks = true, repeats_steps = true;
  std::string describe() const { return "a device in a test"; }
  static constexpr int head_rows(int vocab) { return Oracle::head_rows(vocab); }

  template <class Kernel>
  void rows(int n, const Kernel& kernel) {
    scan(kernel);
    verb("rows", {}, [&] { oracle_.rows(n, kernel); });
  }
  template <class Kernel>
  void columns(int n, Segments rows, const Kernel& kernel) {
    scan(kernel);
    verb("columns", {rows.offset}, [&] { oracle_.columns(n, rows, kernel); });
  }

  template <class X = const W, class Y = const W, class Z>
  void gemm(int m, int n, int k, Matrix<X> a, Matrix<Y> b, Z* c, std::ptrdiff_t ldc,
            GemmOptions<W> o = {}) {
    verb("gemm", {a.data, a.rows, b.data, b.rows, c, o.bias},
         [&] { oracle_.gemm(m, n, k, a, b, c, ldc, o); });
  }
  template <class X = const W, class Y = const W, class Z>
  void batched_gemm(int batch, int m, int n, int k, Matrix<X> a, std::ptrdiff_t a_step, Matrix<Y> b,
                    std::ptrdiff_t b_step, Z* c, std::ptrdiff_t ldc, std::ptrdiff_t c_step,
                    GemmOptions<W> o = {}) {
    verb("batched_gemm", {a.data, b.data, c, o.bias},
         [&] { oracle_.batched_gemm(batch, m, n, k, a, a_step, b, b_step, c, ldc, c_step, o); });
  }
  void symmetric_gemm(int batch, int m, int k, Matrix<const W> a, std::ptrdiff_t a_step, W* c,
                      SymmetricOptions<W> o) {
    verb("symmetric_gemm", {a.data, c},
         [&] { oracle_.symmetric_gemm(batch, m, k, a, a_step, c, o); });
  }
  template <class X = const W, class Y = const W, class Z>
  void grouped_gemm_m(Segments segments, int n, int k, Matrix<X> a, Matrix<Y> b,
                      std::ptrdiff_t b_step, Z* c, std::ptrdiff_t ldc, GemmOptions<W> o = {},
                      std::ptrdiff_t bias_step = 0) {
    verb("grouped_gemm_m", {segments.offset, a.data, a.rows, b.data, c, o.bias},
         [&] { oracle_.grouped_gemm_m(segments, n, k, a, b, b_step, c, ldc, o, bias_step); });
  }
  template <class X = const W, class Y = const W, class Z>
  void grouped_gemm_k(Segments segments, int m, int n, Matrix<X> a, Matrix<Y> b, Z* c,
                      std::ptrdiff_t ldc, std::ptrdiff_t c_step, GemmOptions<W> o = {}) {
    verb("grouped_gemm_k", {segments.offset, a.data, a.rows, b.data, b.rows, c},
         [&] { oracle_.grouped_gemm_k(segments, m, n, a, b, c, ldc, c_step, o); });
  }

  void reserve(const AttentionShape& shape) { largest_ = shape; }
  const AttentionShape& reserved() const { return largest_; }
  void attention_forward(const AttentionShape& s, const T* q, const T* k, const T* v, T* out,
                         W* lse) {
    verb("attention_forward", {q, k, v, out, lse, s.dropout.step},
         [&] { oracle_.attention_forward(s, q, k, v, out, lse); });
  }
  void attention_backward(const AttentionShape& s, const T* q, const T* k, const T* v, const T* out,
                          const T* dout, const W* lse, T* dq, T* dk, T* dv) {
    verb("attention_backward", {q, k, v, out, dout, lse, dq, dk, dv, s.dropout.step},
         [&] { oracle_.attention_backward(s, q, k, v, out, dout, lse, dq, dk, dv); });
  }
  void group_by_expert(int tokens, int experts, int top_k, const int* expert, int* slot_of,
                       int* token_of, int* offset) {
    verb("group_by_expert", {expert, slot_of, token_of, offset}, [&] {
      oracle_.group_by_expert(tokens, experts, top_k, expert, slot_of, token_of, offset);
    });
  }

 private:
  static constexpr std::size_t size = std::size_t(1) << 30;

  /// Opens the memory for one verb.
  struct Open {
    Detached& of;
    Open(Detached& be, const char* name) : of(be) {
      ++of.calls[name];
      if (of.used_ > 0) ::mprotect(of.region_, of.used_, PROT_READ | PROT_WRITE);
    }
    ~Open() {
      if (of.used_ > 0) ::mprotect(of.region_, of.used_, PROT_NONE);
    }
  };
  struct Copy {
    void* to;
    std::vector<std::byte> bytes;
  };

  bool is_ours(const void* p) const {
    const auto* const at = static_cast<const std::byte*>(p);
    return p == nullptr || (at >= region_ && at < region_ + used_);
  }
  template <class F>
  void verb(const char* name, std::initializer_list<const void*> addresses, const F& f) {
    for (const void* p : addresses)
      if (!is_ours(p)) host_pointers.insert(name);
    const Open open(*this, name);
    f();
  }
  /// Looks for addresses of host memory among the words of a kernel.
  template <class Kernel>
  void scan([[maybe_unused]] const Kernel& kernel) {
#if defined(__has_builtin) && __has_builtin(__builtin_clear_padding)
    alignas(Kernel) std::byte copy[sizeof(Kernel)];
    std::memcpy(copy, &kernel, sizeof(Kernel));
    __builtin_clear_padding(reinterpret_cast<Kernel*>(copy));
    for (std::size_t i = 0; i + sizeof(std::uintptr_t) <= sizeof(Kernel);
         i += sizeof(std::uintptr_t)) {
      std::uintptr_t word;
      std::memcpy(&word, copy + i, sizeof word);
      // Where Linux puts heap, stack and libraries; two small integers and a double do not look so.
      const bool is_address = word >> 40 >= 0x55 && word >> 40 <= 0x7f;
      if (is_address && !is_ours(reinterpret_cast<const void*>(word)))
        host_pointers.insert(typeid(Kernel).name());
    }
#endif
  }
  void deliver(std::size_t end) {
    for (; delivered_ < end; ++delivered_) {
      Copy& copy = copies_[delivered_];
      std::memcpy(copy.to, copy.bytes.data(), copy.bytes.size());
      copy.bytes.clear();
    }
  }

  Oracle oracle_;
  std::byte* region_;
  std::size_t used_ = 0, delivered_ = 0;
  std::vector<Copy> copies_;
  AttentionShape largest_{};
};

}  // namespace moe::test
