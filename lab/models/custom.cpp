// A user's own model, from the header MOE_LAB_MODEL. scale_model --emit and simple_moe write such
// headers: they define moe::ModelConfig emitted::model and the numbers of its training.
#include MOE_LAB_MODEL

#include <moe_lab/train.hpp>

namespace {

const lab::Compiled<lab::Model> model("custom",
                                      lab::make_model<emitted::model, moe::Cpu<float>>("custom"));
const lab::Compiled<lab::Settings> settings("custom",
                                            {.model = "custom",
                                             .steps = emitted::steps,
                                             .batch = emitted::sequences,
                                             .length = emitted::model.context,
                                             .accumulation = emitted::accumulation,
                                             .muon_lr = emitted::muon_lr,
                                             .adamw_lr = emitted::adamw_lr,
                                             .beta2 = 0.99,
                                             .balance_weight = 0.01 * emitted::model.layers});

}  // namespace
