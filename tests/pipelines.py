"""Small pipelines of diffusers with random weights, made from configurations."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch


def tokenizer(length: int = 16) -> Any:
    """A CLIP tokenizer whose tokens are single letters."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
        merges.write_text("#version: 0.2\n")
        return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=length)


def text_encoder(words: Any) -> Any:
    """A CLIP text encoder of 16 features for a tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    size = len(words)
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=words.model_max_length,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    return CLIPTextModel(config)


def stable_diffusion(folder: Path, prediction: str = "epsilon", seed: int = 0) -> Path:
    """A Stable Diffusion pipeline that draws 16x16 pictures from latents of 4x8x8; 52k parameters in its network."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words = tokenizer()
        network = UNet2DConditionModel(
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        autoencoder = AutoencoderKL(
            sample_size=16,
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        )
        scheduler = DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction,
        )
        pipeline = StableDiffusionPipeline(
            vae=autoencoder,
            text_encoder=text_encoder(words),
            tokenizer=words,
            unet=network,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    return folder


def latent_diffusion(folder: Path, kind: str, seed: int = 0) -> Path:
    """A pipeline of latent diffusion without conditions, over an autoencoder of the kind ``vq`` or ``kl``."""
    from diffusers import AutoencoderKL, DDIMScheduler, LDMPipeline, UNet2DModel, VQModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = UNet2DModel(
            sample_size=8,
            in_channels=3,
            out_channels=3,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            attention_head_dim=8,
            norm_num_groups=4,
        )
        parts = {"block_out_channels": (8, 8), "latent_channels": 3, "norm_num_groups": 4, "sample_size": 16}
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        if kind == "vq":
            autoencoder = VQModel(**parts, **blocks, num_vq_embeddings=32)
        else:
            autoencoder = AutoencoderKL(**parts, **blocks)
        scheduler = DDIMScheduler(clip_sample=False, steps_offset=1)
    LDMPipeline(vqvae=autoencoder, unet=network, scheduler=scheduler).save_pretrained(folder)
    return folder


def sentence_pieces(length: int = 20) -> Any:
    """A T5 tokenizer whose tokens are single letters."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(chr(code), -3.0) for code in range(ord("!"), ord("~") + 1)]
    return T5Tokenizer(vocab=special + letters, extra_ids=0, model_max_length=length)


def t5(words: Any) -> Any:
    """The encoder of a T5 of 16 features for a tokenizer."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=len(words) + 6, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2))


def autoencoder(channels: int = 4) -> Any:
    """An autoencoder of 16x16 pictures, to latents of half their sides."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=16,
        latent_channels=channels,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )


def scheduler(**settings: Any) -> Any:
    """A DDIM scheduler that doesn't clip."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(clip_sample=False, steps_offset=1, **settings)


def stable_diffusion_xl(folder: Path, seed: int = 0) -> Path:
    """A pipeline of Stable Diffusion XL with two text encoders of 16 features, of which the second projects to 12."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words = tokenizer()
        first = text_encoder(words)
        config = CLIPTextConfig(**first.config.to_dict() | {"projection_dim": 12, "hidden_act": "gelu"})
        network = UNet2DConditionModel(
            sample_size=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 12,
            norm_num_groups=4,
        )
        pipeline = StableDiffusionXLPipeline(
            vae=autoencoder(),
            text_encoder=first,
            text_encoder_2=CLIPTextModelWithProjection(config),
            tokenizer=words,
            tokenizer_2=tokenizer(),
            unet=network,
            scheduler=scheduler(beta_schedule="scaled_linear"),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder)
    return folder


def dit(folder: Path, seed: int = 0) -> Path:
    """A DiT of 1,000 classes, five of them with names, that also returns a variance."""
    from diffusers import DiTPipeline, DiTTransformer2DModel

    names = {0: "cat, house cat", 1: "dog", 2: "crane", 3: "crane", 4: "bird"}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=1000,  # the pipeline takes 1000 for no class
        )
        pipeline = DiTPipeline(transformer=network, vae=autoencoder(), scheduler=scheduler(), id2label=names)
    pipeline.register_to_config(id2label=names)
    pipeline.save_pretrained(folder)
    return folder


def pixart(folder: Path, kind: str = "Sigma", side: int = 8, seed: int = 0) -> Path:
    """A pipeline of PixArt-alpha or -sigma with T5."""
    import diffusers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words = sentence_pieces()
        network = diffusers.PixArtTransformer2DModel(
            num_attention_heads=3,
            attention_head_dim=8,
            num_layers=2,
            cross_attention_dim=24,
            caption_channels=16,
            sample_size=side,
            patch_size=2,
            interpolation_scale=1,
        )
        parts = {"text_encoder": t5(words), "tokenizer": words, "transformer": network, "vae": autoencoder()}
        pipeline = getattr(diffusers, f"PixArt{kind}Pipeline")(**parts, scheduler=scheduler())
    pipeline.save_pretrained(folder)
    return folder


def class_network() -> Any:
    """A UNet2DModel of 8x8 pictures in grey and ten classes, whose class embedding is large enough to see."""
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8,),
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
        add_attention=False,
        norm_num_groups=2,
        num_class_embeds=10,
    )
    network.class_embedding.weight.data *= 5
    return network


def class_unet(folder: Path, seed: int = 0) -> Path:
    """The folder of a `class_network` with its scheduler."""
    from diffusers import DDPMPipeline, DDPMScheduler

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = class_network()
    DDPMPipeline(unet=network, scheduler=DDPMScheduler(clip_sample=False)).save_pretrained(folder)
    return folder
