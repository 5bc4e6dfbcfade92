"""A text encoder of a pipeline with its tokenizer: from captions and prompts to embeddings of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from whence import artefacts
from whence.diffusion.adapters.adapter import PICKLED, Adapter
from whence.diffusion.adapters.adapter_file import read_adapter
from whence.diffusion.adapters.layers import attach
from whence.diffusion.adapters.low_rank import AdapterWeights
from whence.diffusion.folders import read_mapping, variant_of
from whence.diffusion.tokenizer import Tokenizer
from whence.engine import DEFAULT, one_thread
from whence.errors import ArtefactError, NotFiniteError
from whence.pretrained import quiet_transformers

#: Texts in a canonical batch; the last one is padded, so an embedding does not depend on the texts beside it. That of a
#: language model is one text, which is long enough.
BATCH = 8
ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "Gemma2Model")
#: Classes of encoders that go on to predict tokens; what comes before that counts.
LANGUAGE_MODELS = ("Qwen3ForCausalLM", "Qwen2_5_VLForConditionalGeneration")


class EncodedTexts(NamedTuple):
    """What a text encoder makes of n texts.

    Attributes:
        states: Hidden states of all tokens, float32 [n, tokens, features].
        pooled: One vector for each text, float32 [n, features]: the projection of CLIP, or the state of its last token
            where it has none; None of T5.
        mask: 1 for tokens of the text, 0 for padding, int64 [n, tokens].
    """

    states: Tensor
    pooled: Tensor | None
    mask: Tensor


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder in the folder of a pipeline: CLIP's, T5's encoder, or a language model (Gemma 2, Qwen 2.5 and 3).

    A text is padded and cut to one length. The network is opened for each call and not kept, so that it is not in
    memory together with the denoiser for long.

    Attributes:
        folder: The folder of a pipeline.
        adapters: Adapters, of which those with weights of this encoder change it.
        part: The folder of the encoder in it; the weights of adapters go by this name too.
        tokens: The folder of its tokenizer.
        length: Tokens of a text; None for as many as the tokenizer says.
        layer: Which hidden states are returned, by their index among all: -2 are the penultimate ones. Those of several
            stand side by side. None for the last ones, after the final normalisation.
        masked: Whether tokens don't attend to padding; an encoder whose configuration says ``use_attention_mask`` is
            always masked.
        form: What a text is put into, see `Tokenizer`.
        left_out: Number of tokens at the beginning, of the form, whose states are left out.

    Raises:
        ArtefactError: One of them is missing, or of a class that is not supported.
    """

    folder: Path
    adapters: tuple[Adapter, ...] = ()
    part: str = "text_encoder"
    tokens: str = "tokenizer"
    length: int | None = None
    layer: int | tuple[int, ...] | None = None
    masked: bool = False
    form: str = "{}"
    left_out: int = 0

    def __post_init__(self) -> None:
        known = (*ENCODERS, *LANGUAGE_MODELS)
        if self._name not in known:
            raise ArtefactError(
                f"The {self.part} of {self.folder} is {self._name}, by its model_index.json; expected "
                f"{' or '.join(known)}."
            )
        if not (self._place / "config.json").is_file():
            raise ArtefactError(
                f"{self.folder} has no {self.part}: {self._place / 'config.json'} does not exist. Copy the folder "
                f"{self.part}/ of the model that it was made from."
            )
        self._tokenizer.require()

    @cached_property
    def classes(self) -> dict[str, list[str | None]]:
        """Library and class of both parts, by the pipeline's index."""
        index = read_mapping(self.folder / "model_index.json")
        return {part: entry for part in self._parts if isinstance(entry := index.get(part), list) and entry}

    @property
    def _parts(self) -> tuple[str, str]:
        return self.part, self.tokens

    @property
    def _place(self) -> Path:
        return self.folder / self.part

    @property
    def _name(self) -> str | None:
        """The name of its class."""
        return (self.classes.get(self.part) or [None])[-1]

    @property
    def _batch(self) -> int:
        return 1 if self._name in LANGUAGE_MODELS else BATCH

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of each file of weights, tokenizer and their configurations, by its path in the folder."""
        return {f"{file.parent.name}/{file.name}": artefacts.file_digest(file) for file in self._files}

    @property
    def bytes(self) -> int:
        """The size of both parts on disk."""
        return sum(file.stat().st_size for file in self._files)

    @property
    def _files(self) -> list[Path]:
        """All files of both parts."""
        return sorted(file for part in self._parts for file in (self.folder / part).iterdir() if file.is_file())

    def copy(self, folder: Path) -> None:
        """Copy both parts into the folder of a pipeline, byte by byte.

        Weights in shards, of a variant or in half precision are saved anew, in one file and in float32: a pipeline
        opens the text encoder in the precision that it is stored in, and can't use it beside a network in another.
        """
        parts = self._parts if self._is_plain else (self.tokens,)
        for file in self._files:
            if file.parent.name in parts and file.suffix not in PICKLED:
                artefacts.copy_file(file, folder / file.parent.name / file.name)
        if not self._is_plain:
            self._network().save_pretrained(folder / self.part)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the weights are in one file, in float32."""
        weights, stated = self._place / "model.safetensors", read_mapping(self._place / "config.json")
        if not weights.is_file() or not {stated.get("dtype"), stated.get("torch_dtype")} <= {None, "float32"}:
            return False
        return all(
            t.dtype == torch.float32 or not t.is_floating_point() for t in artefacts.read_tensors(weights).values()
        )

    @cached_property
    def adapter_weights(self) -> list[AdapterWeights]:
        """The adapters with weights of this encoder."""
        weights = [read_adapter(adapter) for adapter in self.adapters]
        return [adapter for adapter in weights if adapter.of_part(self.part)]

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Return what the encoder makes of texts, in canonical batches.

        Raises:
            ArtefactError: The weights or the tokenizer are damaged.
            NotFiniteError: An embedding is not finite.
        """
        network, batches = self._network(), list[Any]()
        self._tokenizer.require_fit(network.config.get_text_config().vocab_size)
        with one_thread(), torch.inference_mode():
            for start in range(0, len(texts), self._batch):
                few = list(texts[start : start + self._batch])
                ids, mask = self._tokenizer(few + [""] * (self._batch - len(few)))
                encoded = self._encoded(network, ids.to(DEFAULT.device), mask.to(DEFAULT.device))
                batches.append([one if one is None else one[: len(few)].cpu() for one in encoded])
        parts: list[Any] = [None if one[0] is None else torch.cat(one) for one in zip(*batches, strict=True)]
        found = EncodedTexts(*parts)
        if not all(torch.isfinite(one).all() for one in (found.states, found.pooled) if one is not None):
            raise NotFiniteError(f"The text encoder in {self._place} gives embeddings that are not finite.")
        return found

    def _encoded(self, network: Any, ids: Tensor, mask: Tensor) -> EncodedTexts:
        """One batch."""
        masked = self.masked or getattr(network.config, "use_attention_mask", False)
        output = network(ids, attention_mask=mask if masked else None, output_hidden_states=self.layer is not None)
        layers = (self.layer,) if isinstance(self.layer, int) else self.layer
        states = [output.last_hidden_state] if layers is None else [output.hidden_states[layer] for layer in layers]
        pooled = output.get("text_embeds", output.get("pooler_output"))
        pooled = None if pooled is None else pooled.float()
        return EncodedTexts(torch.cat(states, -1)[:, self.left_out :].float(), pooled, mask[:, self.left_out :])

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """The texts that have more tokens than the encoder takes; their ends are not seen."""
        return self._tokenizer.truncated(texts)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        name, length = (self.classes.get(self.tokens) or [None])[-1], self.length
        return Tokenizer(self.folder, self.tokens, name, None if length is None else length + self.left_out, self.form)

    def _network(self) -> Any:
        import transformers

        form = {"variant": variant_of(self._place, "model"), "use_safetensors": True, "dtype": torch.float32}
        kind: Any = getattr(transformers, str(self._name))
        with quiet_transformers(self._place, "can't be opened by transformers"):
            network, problems = kind.from_pretrained(
                self._place, local_files_only=True, output_loading_info=True, **form
            )
        missing = sorted(problems["missing_keys"])
        if missing:
            raise ArtefactError(f"The weights in {self._place} lack {missing[0]} ({len(missing)} in all).")
        attach(network, self.adapter_weights, self.part)
        inner = network.base_model if self._name in LANGUAGE_MODELS else network
        return inner.eval().to(DEFAULT.device)
