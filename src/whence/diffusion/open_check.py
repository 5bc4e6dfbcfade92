"""The check that fits the pipeline in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whence.diffusion.flow_check import PIPELINES, FlowCheck
from whence.diffusion.folders import read_mapping
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.shipped_base import base_folder


def open_check(base: str | Path, *arguments: Any, **settings: Any) -> PipelineCheck:
    """Return the check of a folder, or of a base that comes with Whence by its name; see `PipelineCheck.open`."""
    index = base_folder(base) / "model_index.json"
    is_flow = index.exists() and read_mapping(index).get("_class_name") in PIPELINES
    return (FlowCheck if is_flow else PipelineCheck).open(base, *arguments, **settings)
