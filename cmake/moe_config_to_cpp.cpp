// The program behind moe_add_model: reads the config.json of a Hugging Face model with the reader
// of the library and writes the header that holds its structure.
#include <cstdio>
#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/model/config_text.hpp>

int main(int argc, char** argv) try {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: %s CONFIG_JSON HEADER NAME [NAMESPACE]\n", argv[0]);
    return 2;
  }
  const std::string path = argv[1], name = argv[3], space = argc == 5 ? argv[4] : "";
  const moe::HuggingFaceConfig config = moe::read_hugging_face_json(path);
  std::string text = "#pragma once\n// Made by moe_add_model from " + path +
                     ".\n#include <moe/core/config.hpp>\n\n";
  if (!space.empty()) text += "namespace " + space + " {\n\n";
  text += "/// The structure of a " + std::string(config.family->title) +
          " of Hugging Face.\ninline constexpr moe::ModelConfig " + name +
          moe::to_cpp(config.model, "\n    ") + ";\n";
  if (!space.empty()) text += "\n}  // namespace " + space + "\n";
  moe::write_file(argv[2], text);
  return 0;
} catch (const moe::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
