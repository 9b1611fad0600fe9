// Crafted files against every reader, under the address and undefined behaviour sanitizers.
// usage: hostile_files
#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifndef __SANITIZE_ADDRESS__
#include <cstdio>
int main() {
  std::puts("SKIPPED: this compiler has no runtime of the address sanitizer");
  return 77;
}
#else
#include "hostile/checkpoint.hpp"
#include "hostile/hugging_face.hpp"
#include "hostile/tokenizer.hpp"
#include "hostile/tokens.hpp"

namespace {

using namespace moe::hostile;

int attack() {
  const moe::test::ScratchFolder folder;
  watch_heap();
  attack_safetensors(folder);
  attack_checkpoints(folder);
  attack_char_vocabulary(folder);
  attack_hugging_face(folder);
  attack_tokenizers(folder);
  attack_token_files(folder);
  attack_cached_tokens(folder);
  for (int i = 0; i < causes; ++i) {
    if (totals->of_cause[static_cast<std::size_t>(i)] > 0) continue;
    std::printf("FAILED cause %d of D2 has no case\n", i);
    ++totals->failures;
  }
  std::printf(
      "%d cases: %d rejected, %d accepted where the format cannot tell, %d failed\n"
      "most memory: %.2f of the file (%s); %lld bytes above twice a small file (%s)\n"
      "longest: %.3f s of processor time\n",
      totals->cases, totals->rejected, totals->accepted, totals->failures, totals->worst_ratio,
      totals->worst_ratio_case, static_cast<long long>(totals->worst_small),
      totals->worst_small_case, totals->worst_seconds);
  return totals->failures > 0;
}

}  // namespace

int main() {
  // The cases run in a child process. If one of them kills it, this process can still name the
  // case.
  void* shared =
      ::mmap(nullptr, sizeof(Totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  totals = new (shared) Totals{};
  const pid_t child = ::fork();
  if (child < 0) return 2;
  if (child == 0) {
    const int result = attack();
    std::fflush(stdout);
    std::exit(result);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return 2;
  if (WIFEXITED(status) && WEXITSTATUS(status) <= 1) return WEXITSTATUS(status);
  std::printf("FAILED %s: the program ended\n", totals->current);
  return 1;
}
#endif
