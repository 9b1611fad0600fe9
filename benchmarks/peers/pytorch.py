#!/usr/bin/env python3
"""Times one training step of the benchmarked models in PyTorch, on the cores of this machine.

The models are those of benchmarks/configs.hpp, written for speed: fused attention, tokens sorted by
expert and one product for each expert (in bfloat16 also one for all, torch._grouped_mm), fused
AdamW or torch.optim.Muon, clipping. Medians of eager and compiled code, in float32 and bfloat16
autocast. Given the files that bench_step --json wrote,
the batch and the other settings are taken from them, the number of parameters must be the same, and
the ratio of the speeds is printed.

    ./dev bench step -- --config shakespeare --json shakespeare.json
    python3 benchmarks/peers/pytorch.py --config shakespeare --ours shakespeare.json
"""
import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int
    dim: int
    layers: int
    heads: int
    hidden: int
    context: int
    experts: int  # 0: a dense model
    batch: int
    length: int
    parameters: int
    top_k: int = 2
    bias: bool = False
    layer_norm: bool = False
    position: str = "rope_half"
    activation: str = "swiglu"
    scale_embedding: bool = False
    muon: bool = False


CONFIGS = {
    "shakespeare": Config(65, 384, 4, 6, 768, 256, 8, 16, 256, 21_419_168, bias=True,
                          layer_norm=True, position="learned", activation="gelu"),
    "nanogpt": Config(65, 384, 6, 6, 1536, 256, 0, 16, 256, 10_745_088,
                      layer_norm=True, position="learned", activation="gelu"),
    "simple": Config(49152, 384, 6, 8, 1536, 512, 8, 4, 512, 79_059_840,
                     position="rope_interleaved", activation="silu", scale_embedding=True,
                     muon=True),
    "tinystories": Config(50257, 832, 7, 8, 3328, 256, 8, 8, 256, 371_640_312, bias=True,
                          layer_norm=True, activation="gelu"),
    "demo": Config(65, 128, 4, 4, 256, 128, 4, 16, 128, 1_846_528, muon=True),
}

SETTING = ("batch", "length", "accumulate", "threads", "optimizer")


def make_norm(c):
    return nn.LayerNorm(c.dim, bias=c.bias) if c.layer_norm else nn.RMSNorm(c.dim, eps=1e-5)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        # Three matrices, as Muon wants them; one product would not be faster at these sizes.
        self.q = nn.Linear(c.dim, c.dim, bias=c.bias)
        self.k = nn.Linear(c.dim, c.dim, bias=c.bias)
        self.v = nn.Linear(c.dim, c.dim, bias=c.bias)
        self.o = nn.Linear(c.dim, c.dim, bias=c.bias)

    def forward(self, x, cosine, sine):
        n, t, d = x.shape
        heads = lambda y: y.view(n, t, self.c.heads, d // self.c.heads).transpose(1, 2)
        q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
        if self.c.position != "learned":
            q, k = self.rotate(q, cosine, sine), self.rotate(k, cosine, sine)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(mixed.transpose(1, 2).reshape(n, t, d))

    def rotate(self, x, cosine, sine):
        if self.c.position == "rope_half":
            a, b = x.chunk(2, dim=-1)
            return torch.cat((a * cosine - b * sine, b * cosine + a * sine), dim=-1).to(x.dtype)
        a, b = x[..., 0::2], x[..., 1::2]
        turned = torch.stack((a * cosine - b * sine, b * cosine + a * sine), dim=-1)
        return turned.flatten(-2).to(x.dtype)


class Expert(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.activation = c.activation
        if c.activation == "swiglu":
            self.gate = nn.Linear(c.dim, c.hidden, bias=c.bias)
        self.up = nn.Linear(c.dim, c.hidden, bias=c.bias)
        self.down = nn.Linear(c.hidden, c.dim, bias=c.bias)

    def forward(self, x):
        if self.activation == "swiglu":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        act = F.gelu if self.activation == "gelu" else F.silu
        return self.down(act(self.up(x)))


class Mixture(nn.Module):
    grouped = False  # bfloat16 only: all experts in one torch._grouped_mm, tokens gathered narrow

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.router = nn.Linear(c.dim, c.experts, bias=c.bias)
        self.experts = nn.ModuleList(Expert(c) for _ in range(c.experts))

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, self.c.dim)
        with torch.autocast("cpu", enabled=False):  # the router stays in float32
            probs = self.router(x.float()).softmax(-1)
        gates, chosen = probs.topk(self.c.top_k, dim=-1)
        gates = gates / gates.sum(-1, keepdim=True)
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.c.experts)
        if self.grouped:
            x = x.to(torch.bfloat16)
        run = self.run_grouped if self.grouped else self.run
        slots = run(x.index_select(0, order // self.c.top_k), counts)
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel())
        y = slots.index_select(0, place).view(-1, self.c.top_k, self.c.dim)
        y = (y * gates.unsqueeze(-1).to(y.dtype)).sum(1)
        load = counts.float() / flat.numel()
        return y.view(shape), self.c.experts * (load * probs.mean(0)).sum()

    # The lengths depend on the data, so this loop is not compiled; what it calls may be.
    @torch.compiler.disable(recursive=False)
    def run(self, x, counts):
        pieces = x.split(counts.tolist())
        for piece in pieces:  # one compilation for all lengths
            torch._dynamo.maybe_mark_dynamic(piece, 0)
        return torch.cat([expert(piece) for expert, piece in zip(self.experts, pieces)])

    def run_grouped(self, x, counts):
        ends = counts.cumsum(0).to(torch.int32)

        def linear(layers, x):
            weight = torch.stack([layer.weight for layer in layers]).to(x.dtype)
            y = torch._grouped_mm(x, weight.transpose(1, 2), offs=ends)
            if layers[0].bias is None:
                return y
            bias = torch.stack([layer.bias for layer in layers]).to(x.dtype)
            return y + bias.repeat_interleave(counts, dim=0)

        up = linear([expert.up for expert in self.experts], x)
        if self.c.activation == "swiglu":
            act = F.silu(linear([expert.gate for expert in self.experts], x)) * up
        else:
            act = F.gelu(up) if self.c.activation == "gelu" else F.silu(up)
        return linear([expert.down for expert in self.experts], act)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.attn_norm, self.attn = make_norm(c), Attention(c)
        self.ffn_norm, self.ffn = make_norm(c), Mixture(c) if c.experts else Expert(c)

    def forward(self, x, cosine, sine):
        x = x + self.attn(self.attn_norm(x), cosine, sine)
        if not self.c.experts:
            return x + self.ffn(self.ffn_norm(x)), 0.0
        y, balance = self.ffn(self.ffn_norm(x))
        return x + y, balance


class Transformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embedding = nn.Embedding(c.vocab, c.dim)
        if c.position == "learned":
            self.positions = nn.Embedding(c.context, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = make_norm(c)
        half = c.dim // c.heads // 2
        angle = torch.outer(torch.arange(c.context).float(),
                            10000.0 ** (-torch.arange(half).float() / half))
        self.register_buffer("cosine", angle.cos())
        self.register_buffer("sine", angle.sin())
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, tokens, targets):
        t = tokens.shape[1]
        x = self.embedding(tokens)
        if self.c.scale_embedding:
            x = x * math.sqrt(self.c.dim)
        if self.c.position == "learned":
            x = x + self.positions.weight[:t]
        balance = 0.0
        for block in self.blocks:
            x, term = block(x, self.cosine[:t], self.sine[:t])
            balance = balance + term / self.c.layers
        logits = F.linear(self.norm(x), self.embedding.weight)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        return loss + 0.01 * balance


class Optimizers:
    """torch.optim.Muon for the hidden matrices when asked for, fused AdamW for all else."""

    def __init__(self, model, muon):
        hidden, others, plain = [], [], []
        for name, p in model.named_parameters():
            matrix = p.dim() == 2
            inner = matrix and "blocks" in name and "router" not in name
            (hidden if muon and inner else others if matrix else plain).append(p)
        groups = [{"params": others, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
        self.all = [torch.optim.AdamW(groups, lr=1e-5, betas=(0.9, 0.95), fused=True)]
        if hidden:
            self.all.append(torch.optim.Muon(hidden, lr=2e-4))

    def step(self):
        for optimizer in self.all:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def median_step(c, muon, batch, length, accumulate, mode, bf16, warm, repetitions):
    """Seconds of `accumulate` passes and an update. Only one pass is run; its time is
    multiplied."""
    torch.manual_seed(0)
    Mixture.grouped = mode == "grouped"
    torch.compiler.reset()
    model = Transformer(c)
    check_parameters(model, c.parameters)
    optimizers = Optimizers(model, muon)
    run = torch.compile(model) if mode == "compiled" else model
    text = torch.randint(c.vocab, (batch, length + 1))
    seconds = []
    for i in range(warm + repetitions):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = run(text[:, :-1], text[:, 1:])
        loss.backward()
        passed = time.perf_counter() - start
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizers.step()
        if i >= warm:
            update = time.perf_counter() - start - passed
            seconds.append(accumulate * passed + update)
    if not math.isfinite(loss.item()):
        sys.exit("pytorch.py: the loss of the peer is not finite; nothing is compared")
    return statistics.median(seconds)


def check_parameters(model, expected):
    count = sum(p.numel() for p in model.parameters())
    if count != expected:
        sys.exit(f"pytorch.py: the peer has {count} parameters and our model {expected}; "
                 "make them the same before comparing")


def read_ours(files, config):
    ours = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            found = json.load(file)
        if found["config"] == config:
            ours.append(found)
    if files and not ours:
        sys.exit(f"pytorch.py: none of {', '.join(files)} is about the model '{config}'; "
                 f"write one with bench_step --config {config} --json FILE")
    return ours


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", choices=CONFIGS, required=True)
    parser.add_argument("--ours", nargs="*", default=[], help="files of bench_step --json")
    parser.add_argument("--batch", type=int, help="sequences [of --ours, or of the config]")
    parser.add_argument("--seq", type=int, help="tokens of a sequence")
    parser.add_argument("--accumulate", type=int, help="batches of one update [of --ours, or 1]")
    parser.add_argument("--threads", type=int, help="[of --ours, or all]")
    parser.add_argument("--optimizer", choices=["adamw", "muon"])
    parser.add_argument("--modes", nargs="*", default=["eager", "compiled", "grouped"],
                        choices=["eager", "compiled", "grouped"],
                        help="grouped: eager, experts as one product, for mixtures in bf16")
    parser.add_argument("--types", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--warm", type=int, default=6, help="steps that are not counted")
    parser.add_argument("--repetitions", type=int, default=5)
    a = parser.parse_args()
    c = CONFIGS[a.config]
    ours = read_ours(a.ours, a.config)
    given = ours[0] if ours else {}
    for one in ours:
        if any(one[key] != given[key] for key in SETTING):
            sys.exit(f"pytorch.py: the files of --ours differ in {', '.join(SETTING)}; "
                     "give those of one setting")
        if one["parameters"] != c.parameters:
            sys.exit(f"pytorch.py: our model has {one['parameters']} parameters, this file says "
                     f"{c.parameters}; correct CONFIGS")
    batch = a.batch or given.get("batch", c.batch)
    length = a.seq or given.get("length", c.length)
    accumulate = a.accumulate or given.get("accumulate", 1)
    threads = a.threads or given.get("threads", torch.get_num_threads())
    optimizer = a.optimizer or given.get("optimizer", "muon" if c.muon else "adamw")
    torch.set_num_threads(threads)
    print(f"PyTorch {torch.__version__}, {a.config}, {accumulate} x {batch} x {length} tokens, "
          f"{optimizer}, threads {threads}, {c.parameters} parameters")
    for kind in a.types:
        best = 0.0
        for mode in a.modes:
            if mode == "grouped" and (kind != "bf16" or not c.experts):
                continue
            seconds = median_step(c, optimizer == "muon", batch, length, accumulate, mode,
                                  kind == "bf16", a.warm, a.repetitions)
            speed = accumulate * batch * length / seconds
            best = max(best, speed)
            print(f"  {kind} {mode:9} {speed:9.0f} tokens/s", flush=True)
        for one in ours:
            if one["backend"].endswith({"fp32": "f32", "bf16": "bf16"}[kind]) and best > 0:
                print(f"  {kind} ours      {one['tokens_per_second']:9.0f} tokens/s, "
                      f"{one['tokens_per_second'] / best:.2f} times the best of PyTorch")


if __name__ == "__main__":
    main()
