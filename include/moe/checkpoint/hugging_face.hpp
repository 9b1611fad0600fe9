#pragma once

// Import and export of Hugging Face models: import_hugging_face and export_hugging_face. The
// structure of a model is known at compile time: moe_add_model (cmake/moe_add_model.cmake)
// generates it from a config.json. hugging_face_options reads the numbers that belong to Options.

#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/checkpoint/hugging_face/export.hpp>
#include <moe/checkpoint/hugging_face/import.hpp>
