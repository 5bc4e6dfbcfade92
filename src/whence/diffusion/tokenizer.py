"""The tokenizer of a text encoder: from texts to the numbers of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from whence.errors import ArtefactError
from whence.pretrained import quiet_transformers

#: Classes of tokenizers, and the files of vocabularies that are read where there is no ``tokenizer.json``.
TOKENIZERS = {
    "CLIPTokenizer": ("vocab.json", "merges.txt"),
    "CLIPTokenizerFast": ("vocab.json", "merges.txt"),
    "T5Tokenizer": ("spiece.model",),
    "T5TokenizerFast": ("spiece.model",),
    "GemmaTokenizer": ("tokenizer.model",),
    "GemmaTokenizerFast": ("tokenizer.model",),
    "Qwen2Tokenizer": ("vocab.json", "merges.txt"),
    "Qwen2TokenizerFast": ("vocab.json", "merges.txt"),
}
#: The form of a text that is the message of a user in the tokenizer's template of a chat.
CHAT = "chat"
#: transformers gives a tokenizer without a stated length one beyond this.
_LONGEST = 1_000_000


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of CLIP, T5, Gemma or Qwen in the folder of a pipeline. It pads behind the text.

    transformers opens folders without a vocabulary too, and every word is then unknown. Such folders are refused.

    Attributes:
        folder: The folder of the pipeline.
        part: The folder of the tokenizer in it.
        name: Its class, by the pipeline's index.
        length: Tokens of a text; None for as many as the tokenizer says.
        form: What a text is put into, at ``{}``, before it is split into tokens; `CHAT` for the tokenizer's own
            template of a chat, in which the text is the message of a user and the answer begins without thinking.
    """

    folder: Path
    part: str
    name: str | None
    length: int | None = None
    form: str = "{}"

    def require(self) -> None:
        """Check the class and the files.

        Raises:
            ArtefactError: The class is not supported, or a file is missing.
        """
        if self.name not in TOKENIZERS:
            raise ArtefactError(
                f"The {self.part} of {self.folder} is {self.name}, by its model_index.json; expected "
                f"{' or '.join(TOKENIZERS)}."
            )
        needed = ["tokenizer_config.json"]
        if not (self._place / "tokenizer.json").is_file():
            needed += TOKENIZERS[self.name]
        for file in needed:
            if not (self._place / file).is_file():
                raise ArtefactError(
                    f"{self.folder} has no {self.part}: {self._place / file} does not exist. Copy the folder "
                    f"{self.part}/ of the model that it was made from."
                )

    def require_fit(self, size: int) -> None:
        """Check that the numbers of tokens are below `size`, the number of those that the encoder knows.

        Raises:
            ArtefactError: There are more tokens, or next to none.
        """
        count = len(self._opened)
        if count > size or len(self._opened.get_vocab()) <= len(self._opened.all_special_ids):
            raise ArtefactError(
                f"The tokenizer in {self._place} has {count} tokens; the text encoder knows {size}. It is damaged or "
                f"another one's: copy the folder {self.part}/ of the model that it was made from."
            )

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The numbers of tokens of texts, and 1 where they are no padding; int64 [n, tokens] each."""
        formed = [self._formed(text) for text in texts]
        ready = self._opened(
            formed, padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
        )
        return ready["input_ids"], ready["attention_mask"]

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """The texts that have more tokens than fit."""
        return [text for text in texts if len(self._opened(self._formed(text))["input_ids"]) > self._length]

    def _formed(self, text: str) -> str:
        """A text as it is split into tokens."""
        if self.form != CHAT:
            return self.form.replace("{}", text)
        if not self._opened.chat_template:
            raise ArtefactError(
                f"The tokenizer in {self._place} has no template of a chat (chat_template.jinja). Copy the folder "
                f"{self.part}/ of the model that it was made from."
            )
        message = [{"role": "user", "content": text}]
        how = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
        formed: str = self._opened.apply_chat_template(message, **how)
        return formed

    @property
    def _place(self) -> Path:
        return self.folder / self.part

    @property
    def _length(self) -> int:
        length = int(self.length or self._opened.model_max_length)
        if length > _LONGEST:
            raise ArtefactError(
                f"{self._place / 'tokenizer_config.json'} has no model_max_length, so it isn't known how long texts "
                "are. Take the file from a copy."
            )
        return length

    @cached_property
    def _opened(self) -> Any:
        import transformers

        kind: Any = getattr(transformers, str(self.name))
        with quiet_transformers(self._place, "can't be opened by transformers"):
            return kind.from_pretrained(self._place, local_files_only=True, padding_side="right")
