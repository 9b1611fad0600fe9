#pragma once

// What a program needs that loads a model and samples from it.

#include <moe/backend/cpu.hpp>
#include <moe/backend/inference.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/core/parse.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>
