#pragma once

// The whole library but for CUDA. A file that needs one part compiles faster with that part alone.

#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/data/batch.hpp>
#include <moe/data/cached_tokens.hpp>
#include <moe/data/char_vocabulary.hpp>
#include <moe/data/corpus.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/data/text_stream.hpp>
#include <moe/flops.hpp>
#include <moe/generate.hpp>
#include <moe/io/hugging_face.hpp>
#include <moe/metrics.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/train/machine.hpp>
#include <moe/train/plan.hpp>
#include <moe/train/progress.hpp>
#include <moe/train/trainer.hpp>
#include <moe/transfer/upcycle.hpp>
#include <moe/transformer.hpp>
