"""The tokenizer and the text encoder of the base of `styles`: whole words for captions, letters for everything else.

The text encoder has random weights and is not trained, so that the words that name a style are as different from each
other as the numerals, although no caption of the base has them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from whence.data.style import Colour, Style

#: Tokens of a text, with its start and its end; "a three in style 12" has seven.
LENGTH = 10
#: Names that no picture has: letters of the Hebrew alphabet.
SPARE = ("alef", "bet", "gimel", "waw", "khet", "tet", "yod", "kaf", "lamed", "mem", "nun", "pe", "qoph", "resh", "taw")
NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Names of dark and of pale colours.
INKS = {
    "black": (20, 20, 20),
    "grey": (80, 80, 80),
    "wine": (110, 20, 30),
    "red": (190, 20, 30),
    "brown": (110, 60, 20),
    "olive": (90, 90, 10),
    "green": (10, 100, 20),
    "teal": (0, 90, 90),
    "navy": (20, 20, 110),
    "blue": (30, 40, 220),
    "purple": (90, 20, 130),
    "magenta": (200, 10, 150),
}
PAPERS = {
    "white": (240, 240, 240),
    "silver": (185, 185, 185),
    "pink": (255, 170, 190),
    "peach": (255, 200, 150),
    "orange": (255, 175, 40),
    "yellow": (245, 235, 60),
    "lime": (180, 255, 40),
    "mint": (160, 250, 180),
    "cyan": (100, 240, 240),
    "sky": (150, 200, 255),
    "lilac": (205, 160, 250),
}
WORDS = (*NUMERALS, "in", "on", "style", *INKS, *PAPERS, *SPARE)


def name_colours(style: Style) -> str:
    """Name the nearest colours of the strokes and of the ground: "navy on mint"."""
    names = [nearest(style.ink, INKS), nearest(style.paper, PAPERS)]
    return " on ".join(reversed(names) if style.inverted else names)


def nearest(colour: Colour, names: Mapping[str, Colour]) -> str:
    """The name of the nearest colour in red, green and blue."""
    return min(names, key=lambda name: math.dist(colour, names[name]))


@dataclass
class Text:
    """The tokenizer and the text encoder, which embeds each text once."""

    tokenizer: CLIPTokenizer
    encoder: Any
    known: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def make(cls) -> Text:
        """New ones."""
        tokenizer = make_tokenizer()
        return cls(tokenizer, make_text_encoder(tokenizer))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings [n, LENGTH, 32] of texts."""
        if new := sorted(set(texts) - self.known.keys()):
            how = {"padding": "max_length", "max_length": LENGTH, "truncation": True, "return_tensors": "pt"}
            self.known |= dict(zip(new, self.encoder(self.tokenizer(new, **how)["input_ids"])[0], strict=True))
        return torch.stack([self.known[text] for text in texts])


def make_tokenizer() -> CLIPTokenizer:
    """A tokenizer of CLIP with a token for each of `WORDS` and for each byte, within a word and at its end."""
    letters = sorted(ByteLevel.alphabet())
    merges = list(dict.fromkeys(merge for word in WORDS for merge in merges_of(word)))
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    with TemporaryDirectory() as folder:
        vocabulary, rules = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
        rules.write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges), ""]))
        return CLIPTokenizer(str(vocabulary), str(rules), model_max_length=LENGTH)


def merges_of(word: str) -> list[tuple[str, str]]:
    """The rules that make one token of the letters of a word, from its beginning."""
    parts = [*word[:-1], f"{word[-1]}</w>"]
    return [("".join(parts[:n]), parts[n]) for n in range(1, len(parts))]


def make_text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """A text encoder of 32 features with random weights of a fixed seed, rounded to float16."""
    size = len(words)
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPTextModel(config).eval()
        for table, deviation in zip(model.embeddings.children(), (1.0, 0.5), strict=True):  # of tokens, of places
            torch.nn.init.normal_(table.weight, std=deviation)
        return model.half().float()
