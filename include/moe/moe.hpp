#pragma once

// The whole library except CUDA. A file that needs only one part compiles faster with that part
// alone.

#include <moe/backend/cpu.hpp>
#include <moe/backend/cpu/roofline.hpp>
#include <moe/backend/inference.hpp>
#include <moe/backend/reference.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/checkpoint/hugging_face.hpp>
#include <moe/core/parse.hpp>
#include <moe/data/cached_tokens.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/data/text_stream.hpp>
#include <moe/data/windows.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/flops.hpp>
#include <moe/model/memory.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/train/metrics_writer.hpp>
#include <moe/train/router_health.hpp>
#include <moe/train/trainer.hpp>
#include <moe/upcycle/upcycle.hpp>
