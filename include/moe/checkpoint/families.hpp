#pragma once
#include <moe/checkpoint/families/gpt2.hpp>
#include <moe/checkpoint/families/llama.hpp>
#include <moe/checkpoint/families/mixtral.hpp>

namespace moe::inline MOE_ISA {

/// The Hugging Face architectures that can be imported and exported. This is the only list of them.
inline constexpr const HuggingFaceFamily* hugging_face_families[] = {&gpt2_family, &llama_family,
                                                                     &mixtral_family};

namespace detail {

/// The names of families as text: "gpt2, llama or mixtral".
inline std::string any_of(HuggingFaceFamilies families, std::string_view HuggingFaceFamily::*name) {
  std::string text;
  for (std::size_t i = 0; i < families.size(); ++i) {
    text += i == 0 ? "" : i + 1 < families.size() ? ", " : " or ";
    text += families[i]->*name;
  }
  return text;
}

}  // namespace detail
}  // namespace moe
