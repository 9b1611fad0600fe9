// Prints the losses of the parts that are linked into this program, to the last bit.
#include <cstdio>

#ifdef WITH_PLAIN
double train_plain();
#endif
#ifdef WITH_NATIVE
double train_native();
#endif

int main() {
#ifdef WITH_PLAIN
  std::printf("plain %a\n", train_plain());
#endif
#ifdef WITH_NATIVE
  std::printf("native %a\n", train_native());
#endif
  return std::fflush(stdout) == 0 ? 0 : 1;
}
