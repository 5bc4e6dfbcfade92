"""The text encoder of a pipeline: from captions and prompts to what a network is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.adapters.adapter import PICKLED, Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.adapters.layers import attach
from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.families.folders import read_mapping, variant_of
from whence.engine import DEFAULT, one_thread
from whence.errors import ArtefactError, NotFiniteError
from whence.pretrained import quiet_transformers

#: Texts in a canonical batch; the last one is padded, so an embedding does not depend on the texts beside it.
BATCH = 8
PARTS = ("text_encoder", "tokenizer")
ENCODERS, TOKENIZERS = ("CLIPTextModel",), ("CLIPTokenizer", "CLIPTokenizerFast")


@dataclass(frozen=True)
class TextEncoder:
    """CLIP's text encoder with its tokenizer (Radford et al. 2021), as in the folders of Stable Diffusion.

    A text becomes the last hidden states of all its tokens, padded and cut to the tokenizer's length. It is opened for
    each call and not kept, so that it is not in memory together with the denoiser for long.

    Attributes:
        folder: The folder of a pipeline, with ``text_encoder/`` and ``tokenizer/``.
        adapters: Adapters, of which those with weights of the text encoder change it.

    Raises:
        ArtefactError: One of them is missing, or of a class that is not supported.
    """

    folder: Path
    adapters: tuple[Adapter, ...] = ()

    def __post_init__(self) -> None:
        for part, allowed, file in (
            ("text_encoder", ENCODERS, "config.json"),
            ("tokenizer", TOKENIZERS, "tokenizer_config.json"),
        ):
            name = self.classes.get(part, [None])[-1]
            if name not in allowed:
                raise ArtefactError(
                    f"The {part} of {self.folder} is {name}, by its model_index.json; expected {' or '.join(allowed)}."
                )
            if not (self.folder / part / file).is_file():
                raise ArtefactError(
                    f"{self.folder} has no {part}: {self.folder / part / file} does not exist. Copy the folder {part}/ "
                    "of the model that it was made from."
                )

    @cached_property
    def classes(self) -> dict[str, list[str | None]]:
        """Library and class of both parts, by the pipeline's index."""
        index = read_mapping(self.folder / "model_index.json")
        return {part: entry for part in PARTS if isinstance(entry := index.get(part), list) and entry}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights, the tokenizer and their configurations."""
        digests = {f"{file.parent.name}/{file.name}": artefacts.file_digest(file) for file in self._files}
        return artefacts.digest([digests, [weights.text_fingerprint for weights in self._adapter_weights]])

    @property
    def bytes(self) -> int:
        """The size of both parts on disk."""
        return sum(file.stat().st_size for file in self._files)

    @property
    def _files(self) -> list[Path]:
        """All files of both parts."""
        return sorted(file for part in PARTS for file in (self.folder / part).iterdir() if file.is_file())

    def copy(self, folder: Path) -> None:
        """Copy both parts into the folder of a pipeline, byte by byte.

        Weights in shards, of a variant or in half precision are saved anew, in one file and in float32: a pipeline
        opens the text encoder in the precision that it is stored in, and can't use it beside a network in another.
        """
        parts = PARTS if self._is_plain else ("tokenizer",)
        for file in self._files:
            if file.parent.name in parts and file.suffix not in PICKLED:
                artefacts.copy_file(file, folder / file.parent.name / file.name)
        if not self._is_plain:
            self._network().save_pretrained(folder / "text_encoder")

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the weights are in one file, in float32."""
        weights, config = self.folder / "text_encoder" / "model.safetensors", self.folder / "text_encoder/config.json"
        stated = read_mapping(config)
        if not weights.is_file() or not {stated.get("dtype"), stated.get("torch_dtype")} <= {None, "float32"}:
            return False
        return all(
            t.dtype == torch.float32 or not t.is_floating_point() for t in artefacts.read_tensors(weights).values()
        )

    @cached_property
    def _adapter_weights(self) -> list[AdapterWeights]:
        """The adapters with weights of the text encoder."""
        weights = [read_adapter(adapter) for adapter in self.adapters]
        return [adapter for adapter in weights if adapter.text_encoder]

    @property
    def adapted(self) -> bool:
        """Whether an adapter changes the text encoder."""
        return bool(self._adapter_weights)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return embeddings float32 [n, tokens, features] of texts.

        Raises:
            ArtefactError: The weights or the tokenizer are damaged.
            NotFiniteError: An embedding is not finite.
        """
        tokens, network = self._tokenizer, self._network()
        masked = getattr(network.config, "use_attention_mask", False)
        rows = []
        with one_thread(), torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                few = list(texts[start : start + BATCH])
                padded = few + [""] * (BATCH - len(few))
                ready = tokens(
                    padded,
                    padding="max_length",
                    max_length=tokens.model_max_length,
                    truncation=True,
                    return_tensors="pt",
                ).to(DEFAULT.device)
                mask = ready["attention_mask"] if masked else None
                rows.append(network(ready["input_ids"], attention_mask=mask)[0][: len(few)].float().cpu())
        embeddings = torch.cat(rows)
        if not torch.isfinite(embeddings).all():
            raise NotFiniteError(f"The text encoder in {self.folder} gives embeddings that are not finite.")
        return embeddings

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """The texts that have more tokens than the encoder takes; their ends are not seen."""
        tokens = self._tokenizer
        return [text for text in texts if len(tokens(text)["input_ids"]) > tokens.model_max_length]

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        return _opened(CLIPTokenizer, self.folder / "tokenizer")

    def _network(self) -> Any:
        from transformers import CLIPTextModel

        folder = self.folder / "text_encoder"
        form = {"variant": variant_of(folder, "model"), "use_safetensors": True, "dtype": torch.float32}
        network, problems = _opened(CLIPTextModel, folder, output_loading_info=True, **form)
        missing = sorted(problems["missing_keys"])
        if missing:
            raise ArtefactError(f"The weights in {folder} lack {missing[0]} ({len(missing)} in all).")
        attach(network, self._adapter_weights, "text_encoder")
        return network.eval().to(DEFAULT.device)


def _opened(kind: Any, folder: Path, **settings: Any) -> Any:
    """Open what transformers wrote."""
    with quiet_transformers(folder, "can't be opened by transformers"):
        return kind.from_pretrained(folder, local_files_only=True, **settings)
