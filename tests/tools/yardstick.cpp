// The unit in which check_compile_time.py measures the compile time of programs: a fixed file that
// uses the standard library, Eigen and xsimd, takes a compiler some seconds and has nothing to do
// with moe. It is never run. Whoever changes it must measure the bounds in check_compile_time.py
// again.
#include <Eigen/Dense>
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <regex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>
#include <xsimd/xsimd.hpp>

namespace {

// A product and a decomposition.
template <class T>
T solved(int n) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix a = Matrix::Random(n, n), b = Matrix::Random(n, n);
  return (a * b + a.transpose()).partialPivLu().solve(b).sum();
}

// Elementary functions over registers.
template <class T>
T swept(const std::vector<T>& values) {
  using V = xsimd::batch<T>;
  V sum(T(0));
  for (std::size_t i = 0; i + V::size <= values.size(); i += V::size) {
    const V x = xsimd::load_unaligned(&values[i]);
    sum += xsimd::exp(x) * xsimd::tanh(x) + xsimd::log(xsimd::abs(x));
  }
  return sum.get(0);
}

// Containers, sorting and text.
std::size_t counted(const std::string& text) {
  std::map<std::string, std::vector<std::string>> folders;
  std::unordered_map<std::string, std::size_t> times;
  const std::regex word("([a-z]+)-([0-9]+)");
  for (std::sregex_iterator at(text.begin(), text.end(), word), end; at != end; ++at) {
    folders[(*at)[1]].push_back((*at)[2]);
    ++times[at->str()];
  }
  std::vector<std::function<bool(const std::string&)>> rules;
  for (auto& [name, numbers] : folders) {
    std::sort(numbers.begin(), numbers.end());
    rules.emplace_back([name = name](const std::string& other) { return other < name; });
  }
  std::mt19937_64 bits(text.size());
  std::shuffle(rules.begin(), rules.end(), bits);
  std::size_t total = std::filesystem::path(text).lexically_normal().native().size();
  for (const auto& [name, count] : times)
    for (const auto& rule : rules) total += rule(name) ? count : 0;
  return total;
}

}  // namespace

double yardstick(int n, const std::string& text) {
  std::vector<float> floats(text.begin(), text.end());
  std::jthread helper([&] { std::stable_sort(floats.begin(), floats.end()); });
  helper.join();
  return double(solved<float>(n)) + double(swept(floats)) + double(counted(text));
}
