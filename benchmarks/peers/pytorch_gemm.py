#!/usr/bin/env python3
"""Times the products of bench_gemm in PyTorch (oneDNN), on the cores of this machine.

Each gemm/... of the file that bench_gemm wrote is timed in float32, each gemm_bf16/... in bfloat16,
with operands that lie in memory as ours do. The ratio is our rate over PyTorch's.

    ./dev bench gemm -- --benchmark_filter='^gemm' --benchmark_out=gemm.json
    python3 benchmarks/peers/pytorch_gemm.py gemm.json
"""
import argparse
import json
import statistics
import sys
import time

import torch


def operands(what, m, n, k, dtype):
    """y = x W^T, dx = dy W and dW = dy^T x, each as a product of two matrices."""
    if what == "forward":
        return torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype).t()
    if what == "input_gradient":
        return torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
    return torch.randn(k, m, dtype=dtype).t(), torch.randn(k, n, dtype=dtype)


def gflops(what, m, n, k, dtype, seconds):
    """2 m n k over the median time of a product."""
    a, b = operands(what, m, n, k, dtype)
    out = torch.empty(m, n, dtype=dtype)
    times, begin = [], time.perf_counter()
    while len(times) < 7 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        times.append(time.perf_counter() - start)
    return 2e-9 * m * n * k / statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("ours", help="the file of bench_gemm --benchmark_out")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each product")
    a = parser.parse_args()
    with open(a.ours, encoding="utf-8") as file:
        runs = [run for run in json.load(file)["benchmarks"] if run["name"].startswith("gemm")]
    if not runs:
        sys.exit(f"pytorch_gemm.py: {a.ours} has no products; write it with bench_gemm "
                 "--benchmark_filter=^gemm --benchmark_out=FILE")
    print(f"PyTorch {torch.__version__}")
    for run in runs:
        kind, model, layer, what, size, threads = run["name"].split("/")[:6]
        m, n, k = map(int, size.split("x"))
        torch.set_num_threads(int(threads.split(":")[1]))
        dtype = torch.bfloat16 if kind == "gemm_bf16" else torch.float32
        peer = gflops(what, m, n, k, dtype, a.seconds)
        ours = run["GFLOP/s"]
        print(f"{kind:9} {model:11} {layer:11} {what:15} {size:16} {threads:9} "
              f"ours {ours:6.0f}  PyTorch {peer:6.0f} GFLOP/s  {ours / peer:5.2f}", flush=True)


if __name__ == "__main__":
    main()
