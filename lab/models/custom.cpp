// A model of your own: that of the header MOE_LAB_MODEL, as scale_model --emit and simple_moe write
// it: moe::ModelConfig emitted::model and the numbers of its training.
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
