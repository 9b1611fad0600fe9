"""Compares the tokenizer with Hugging Face tokenizers: ids of random strings, and what was saved.

usage: tokenizer.py PROGRAMS      exits with 77 without the package tokenizers

Vocabularies: two that are trained here (GPT-2's and SmolLM's manner), and GPT-2's own where
$MOE_DATA_DIR/gpt2 has it. Characters younger than Unicode 15 are left out: the package knows
later ones, and then cuts texts with them elsewhere.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

try:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
except ImportError:
    print("SKIPPED: the Python package tokenizers is not installed")
    sys.exit(77)

PARTS = list("abcXYZst'''''rem lvd   \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u200a\u200b"
             "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\u180e01239½²ⅧéÉ٣٤İ\u0301世界😀’!?.,;#$%<|>"
             "{}[]()_-+=/\\\"\x00\x01")
PARTS += ["'s", "'ll", "'re", "'ve", "<|endoftext|>", "<|im_start|>", "  ", "\n\n", "the", " the",
          "##", " 12"]
COUNT = 20000
KNOWN = unicodedata if float(unicodedata.unidata_version[:4]) <= 15 else unicodedata.ucd_3_2_0


def random_text(generator):
    def character():
        while True:
            c = chr(generator.randrange(generator.choice([0x80, 0x3000, 0x10000, 0x110000])))
            if KNOWN.category(c) not in ("Cn", "Cs"):
                return c

    return "".join(generator.choice(PARTS) if generator.random() < 0.8 else character()
                   for _ in range(generator.randrange(14)))


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def trained(pre_tokenizer, texts):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=700, show_progress=False, special_tokens=["<|endoftext|>", "<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def gpt2(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines
              if line and not line.startswith("#version")]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = byte_level()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def differences(name, program, folder, tokenizer, texts):
    """Strings that get other ids from us, or from what we saved."""
    saved = folder / "saved"
    lines = "".join(text.encode().hex() + "\n" for text in texts)
    printed = subprocess.run([program, folder, saved], input=lines, text=True, check=True,
                             stdout=subprocess.PIPE).stdout.splitlines()
    readers = [tokenizer, tokenizers.Tokenizer.from_file(str(saved / "tokenizer.json"))]
    try:
        import transformers
        readers.append(transformers.AutoTokenizer.from_pretrained(saved).backend_tokenizer)
    except ImportError:
        pass
    ours = [[int(word) for word in line.split()] for line in printed]
    assert len(ours) == len(texts), f"{len(ours)} lines for {len(texts)} strings"
    wrong = [(text, ids) for text, ids in zip(texts, ours)
             if any(reader.encode(text, add_special_tokens=False).ids != ids for reader in readers)]
    print(f"{name}: {len(texts)} strings, {tokenizer.get_vocab_size()} tokens, {len(readers)} "
          f"readers, {len(wrong)} differences")
    for text, ids in wrong[:5]:
        print(f"  {text!r}: {ids}, theirs {tokenizer.encode(text, add_special_tokens=False).ids}")
    return len(wrong)


def main(programs):
    generator = random.Random(1)
    texts = [random_text(generator) for _ in range(COUNT)]
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()])
    cases = {"gpt2_manner": trained(byte_level(), texts), "smollm_manner": trained(digits, texts)}
    data = pathlib.Path(os.environ.get("MOE_DATA_DIR", ""), "gpt2")
    if (data / "vocab.json").exists():
        cases["gpt2"] = gpt2(data)
    else:
        print("SKIPPED: MOE_DATA_DIR has no gpt2/vocab.json")
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        for name, tokenizer in cases.items():
            folder = pathlib.Path(place, name)
            folder.mkdir()
            tokenizer.save(str(folder / "tokenizer.json"))
            wrong += differences(name, programs / "interop_tokenize", folder, tokenizer, texts)
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
