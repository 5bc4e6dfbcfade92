"""Small pipelines of flows, such as Stable Diffusion 3 and FLUX, with random weights, made from configurations."""

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


def gemma(width: int) -> tuple[Any, Any]:
    """A Gemma tokenizer whose tokens are single letters, and a language model of two layers for it."""
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "\u2581"]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = GemmaTokenizer(vocab={token: n for n, token in enumerate([*special, *letters])}, merges=[])
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 8}
    return words, Gemma2Model(Gemma2Config(vocab_size=len(words), pad_token_id=0, **sizes, **heads))


def sana(folder: Path, seed: int = 0, **scheduler: Any) -> Path:
    """A Sana pipeline that draws 32x32 pictures from latents of 4x8x8."""
    from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words, language = gemma(16)
        network = SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            sample_size=8,
            patch_size=1,
        )
        autoencoder = AutoencoderDC(
            latent_channels=4,
            encoder_block_types="ResBlock",
            decoder_block_types="ResBlock",
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            encoder_qkv_multiscales=((), (), ()),
            decoder_qkv_multiscales=((), (), ()),
            scaling_factor=0.4,
        )
        flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
        pipeline = SanaPipeline(
            tokenizer=words,
            text_encoder=language,
            vae=autoencoder,
            transformer=rougher(network),
            scheduler=DPMSolverMultistepScheduler(**flow | scheduler),
        )
    pipeline.save_pretrained(folder)
    return folder


def qwen_tokenizer() -> Any:
    """A tokenizer of Qwen whose tokens are single letters, with a template of a chat."""
    from transformers import Qwen2Tokenizer

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    space, newline = "\u0120", "\u010a"
    vocabulary = {token: n for n, token in enumerate([*letters, space, newline, "<|endoftext|>"])}
    words = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    words.chat_template = (
        "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        "{% if not enable_thinking %}<think></think>{% endif %}"
    )
    return words


def flux_2(folder: Path, distilled: bool = False, seed: int = 0, **scheduler: Any) -> Path:
    """A FLUX.2 [klein] pipeline that draws 16x16 pictures from patched latents of 16x4x4."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words = qwen_tokenizer()
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 28, "head_dim": 4}
        language = Qwen3ForCausalLM(
            Qwen3Config(vocab_size=len(words), num_attention_heads=2, num_key_value_heads=1, **sizes)
        )
        network = Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            timestep_guidance_channels=32,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        )
        autoencoder = AutoencoderKLFlux2(
            sample_size=16,
            latent_channels=4,
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            layers_per_block=1,
        )
        autoencoder.bn.running_mean.uniform_(-1, 1)
        autoencoder.bn.running_var.uniform_(0.5, 2)
        pipeline = Flux2KleinPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(**({"shift": 3.0, "use_dynamic_shifting": True} | scheduler)),
            vae=autoencoder,
            text_encoder=language,
            tokenizer=words,
            transformer=rougher(network),
            is_distilled=distilled,
        )
    pipeline.save_pretrained(folder)
    return folder


def qwen_image(folder: Path, seed: int = 0, **scheduler: Any) -> Path:
    """A Qwen-Image pipeline that draws 16x16 pictures from latents of 4x8x8."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words = qwen_tokenizer()
        rope = {"type": "mrope", "mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 10000.0}
        ids = {"vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 0}
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "rope_parameters": rope}
        eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
        language = Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=ids | sizes | heads, vision_config=eyes)
        )
        network = QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 4, 8),
        )
        autoencoder = AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[False],
            latents_mean=[0.1, -0.2, 0.3, -0.4],
            latents_std=[0.5, 1.0, 1.5, 2.0],
        )
        pipeline = QwenImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(
                **({"use_dynamic_shifting": True, "max_shift": 0.9, "shift_terminal": 0.02} | scheduler)
            ),
            vae=autoencoder,
            text_encoder=language,
            tokenizer=words,
            transformer=rougher(network),
        )
    pipeline.save_pretrained(folder)
    return folder
