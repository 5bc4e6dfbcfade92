"""Small pipelines of Stable Diffusion 3 and FLUX with random weights, made from configurations."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import torch

CLIP = runpy.run_path(str(Path(__file__).parent / "pipelines.py"))


def t5_tokenizer() -> Any:
    """A T5 tokenizer whose tokens are single letters."""
    from transformers import T5Tokenizer

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    pieces = ["<pad>", "</s>", "<unk>", "▁", *letters, *(f"▁{letter}" for letter in letters)]
    return T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0)


def t5_encoder(words: Any, width: int) -> Any:
    """A T5 encoder of two layers for a tokenizer."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=len(words), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0)
    )


def clip_encoder(words: Any, width: int, projection: bool) -> Any:
    """A CLIP text encoder of three layers, with or without a projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = len(words)
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=words.model_max_length,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
        projection_dim=width,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def autoencoder(channels: int) -> Any:
    """A KL autoencoder of 16x16 pictures, whose latents of 8x8 have a shift and a scale."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=16,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=channels,
        shift_factor=0.2,
        scaling_factor=0.7,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def rougher(network: Any) -> Any:
    """The network, whose last layers are not next to zero, so that its output depends on all others."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def stable_diffusion_3(folder: Path, t5: bool = True, seed: int = 0, **scheduler: Any) -> Path:
    """A Stable Diffusion 3.5 pipeline that draws 16x16 pictures from latents of 4x8x8."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words, others = CLIP["tokenizer"](), t5_tokenizer()
        network = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=24,
            pos_embed_max_size=8,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        )
        pipeline = StableDiffusion3Pipeline(
            transformer=rougher(network),
            scheduler=FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | scheduler)),
            vae=autoencoder(4),
            text_encoder=clip_encoder(words, 16, True),
            tokenizer=words,
            text_encoder_2=clip_encoder(words, 8, True),
            tokenizer_2=words,
            text_encoder_3=t5_encoder(others, 32) if t5 else None,
            tokenizer_3=others if t5 else None,
        )
    pipeline.save_pretrained(folder)
    return folder


def flux(folder: Path, guidance: bool = True, seed: int = 0, **scheduler: Any) -> Path:
    """A FLUX pipeline that draws 16x16 pictures from latents of 4x8x8."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words, others = CLIP["tokenizer"](), t5_tokenizer()
        network = FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            guidance_embeds=guidance,
            axes_dims_rope=(4, 4, 8),
        )
        pipeline = FluxPipeline(
            transformer=rougher(network),
            scheduler=FlowMatchEulerDiscreteScheduler(**({"shift": 3.0, "use_dynamic_shifting": guidance} | scheduler)),
            vae=autoencoder(4),
            text_encoder=clip_encoder(words, 16, False),
            tokenizer=words,
            text_encoder_2=t5_encoder(others, 32),
            tokenizer_2=others,
        )
    pipeline.save_pretrained(folder)
    return folder
