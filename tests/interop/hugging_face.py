"""Compares import and export with transformers: random weights, both ways, both layouts.

usage: hugging_face.py make MODELS            writes the checkpoints
       hugging_face.py check MODELS PROGRAMS  runs PROGRAMS/interop_* on them and compares

Figures: |logit difference| <= 1e-4 in fp32 and <= 1e-9 in fp64; greedy generation token for token;
exported weights equal to the last bit.
"""
import contextlib
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers
from safetensors.torch import load_file, save_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
VERSION = int(transformers.__version__.split(".")[0])
PROMPT, NEW = 5, 24
COMMON = dict(vocab_size=96, bos_token_id=None, eos_token_id=None)
LLAMA = dict(COMMON, hidden_size=32, intermediate_size=80, num_hidden_layers=3,
             num_attention_heads=4, max_position_embeddings=64)
CONFIGS = {
    "gpt2": transformers.GPT2Config(**COMMON, n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "llama": transformers.LlamaConfig(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True),
    "llama_biased": transformers.LlamaConfig(
        **LLAMA, num_key_value_heads=4, tie_word_embeddings=False, attention_bias=True,
        mlp_bias=True, rms_norm_eps=1e-5, hidden_act="gelu"),
    "mixtral": transformers.MixtralConfig(
        **dict(LLAMA, intermediate_size=48), num_key_value_heads=2, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=None),
}
# For each structure, which is a program of its own, the folders that the program reads.
VARIANTS = {
    "gpt2": ["gpt2", "gpt2_sharded", "gpt2_bf16"],
    "llama": ["llama", "llama_sharded", "llama_f16", "llama_f64"],
    "llama_biased": ["llama_biased", "llama_biased_sharded"],
    "mixtral": ["mixtral", "mixtral_sharded", "mixtral_bf16"],
}
if VERSION >= 5:
    VARIANTS["mixtral"] += ["mixtral_fused", "mixtral_fused_sharded"]


def make(models):
    for name, config in CONFIGS.items():
        torch.manual_seed(len(name))
        model = transformers.AutoModelForCausalLM.from_config(config).double()
        with torch.no_grad():  # biases and norms too are random
            for parameter_name, parameter in model.named_parameters():
                mean = 1.0 if "norm" in parameter_name or ".ln_" in parameter_name else 0.0
                mean = 0.0 if parameter_name.endswith("bias") else mean
                parameter.copy_(mean + 0.2 * torch.randn_like(parameter))
        for variant in VARIANTS[name]:
            dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64}.get(
                variant.split("_")[-1], torch.float32)
            options = {}
            if "sharded" in variant:
                options["max_shard_size"] = "30KB"
            if "fused" in variant:
                options["save_original_format"] = False
            saved = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
            saved.load_state_dict(model.state_dict())
            saved.save_pretrained(models / variant, **options)
    torch.manual_seed(1)
    save_file({"tokens": torch.randint(0, 96, (3, 48), dtype=torch.int32)},
              models / "tokens.safetensors")


@contextlib.contextmanager
def all_double(model):
    """Makes float32 mean float64 while a model is used, because transformers computes norms,
    rotations and routers in float32 whatever the type of the weights."""
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            parameters = getattr(model.config, "rope_parameters", None) or vars(model.config)
            pairs = module.inv_freq.numel()
            module.inv_freq = parameters["rope_theta"] ** (
                -torch.arange(pairs, dtype=torch.float64) / pairs)
    old = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = old


def reference(folder, tokens, dtype):
    """Logits, greedy continuation and weights by transformers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, **{"dtype" if VERSION >= 5 else "torch_dtype": dtype}).eval()
    double = dtype == torch.float64
    if double and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # grouped products lack float64
    with torch.no_grad(), all_double(model) if double else contextlib.nullcontext():
        logits = model(tokens).logits.reshape(-1, 96)
        out = model.generate(tokens[:1, :PROMPT], max_new_tokens=NEW, min_new_tokens=NEW,
                             do_sample=False, pad_token_id=0)
    return logits, out[0, PROMPT:], model.state_dict()


def check(models, programs):
    tokens = load_file(models / "tokens.safetensors")["tokens"].long()
    failed, layouts = [], {}

    def expect(good, what):
        if not good:
            failed.append(what)
            print("FAILED:", what)

    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    print(f"{'folder':24}{'fp32':>10}{'fp64':>10}{'exported':>10}   largest |logit difference|")
    for program, variants in VARIANTS.items():
        for variant in variants:
            out = models / "out" / variant
            subprocess.run([programs / f"interop_{program}", models / variant,
                            models / "tokens.safetensors", out], check=True)
            ours = load_file(out / "logits.safetensors")
            difference = {}
            for dtype, limit in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
                short = str(dtype)[6:]
                logits, continuation, weights = reference(models / variant, tokens, dtype)
                worst = (ours[short].double() - logits.double()).abs().max().item()
                difference[short] = worst
                expect(worst <= limit, f"{variant}: {short} logits differ by {worst:.2e}")
                expect(ours["continuation" + short[5:]].tolist() == continuation.tolist(),
                       f"{variant}: {short} generation differs")
                back = reference(out / ("f32" if short == "float32" else "f64"), tokens, dtype)
                # A file of doubles keeps only its first 24 bits in our float model, as in theirs.
                expect(weights.keys() == back[2].keys() and all(
                    torch.equal(weights[k], back[2][k]) for k in weights),
                    f"{variant}: exported {short} weights differ")
                worst = (ours[short].double() - back[0].double()).abs().max().item()
                difference["back"] = max(worst, difference.get("back", 0))
                expect(worst <= limit, f"{variant}: exported {short} logits differ by {worst:.2e}")
                expect(back[1].tolist() == continuation.tolist(),
                       f"{variant}: generation of the exported {short} model differs")
            print(f"{variant:24}{difference['float32']:10.1e}{difference['float64']:10.1e}"
                  f"{difference['back']:10.1e}")
            if not variant.endswith(("bf16", "_f16", "f64")):
                first = layouts.setdefault(program, (variant, ours))
                expect(all(torch.equal(first[1][k], ours[k]) for k in ours),
                       f"{variant} and {first[0]} give different bits")
    print("transformers agrees" if not failed else f"{len(failed)} differences")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        sys.exit(check(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])))
    else:
        sys.exit(__doc__)
