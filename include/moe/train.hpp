#pragma once

// What a program that trains needs: backends, models, optimizers, text and batches, the loop, and
// checkpoints of the library's own format.

#include <moe/backend/cpu.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/core/parse.hpp>
#include <moe/data/cached_tokens.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/data/text_stream.hpp>
#include <moe/data/windows.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/flops.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/train/trainer.hpp>
