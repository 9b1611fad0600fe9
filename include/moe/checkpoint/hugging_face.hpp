#pragma once

// Models of Hugging Face, in and out: import_hugging_face and export_hugging_face. The structure of
// a model is known at compile time: moe_add_model (cmake/moe_add_model.cmake) writes it from a
// config.json; hugging_face_options reads the numbers that belong into Options.

#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/checkpoint/hugging_face/export.hpp>
#include <moe/checkpoint/hugging_face/import.hpp>
