"""The families that Whence knows, one per file."""

from whence.diffusion.families.family import register
from whence.diffusion.families.latent_diffusion import LATENT_DIFFUSION
from whence.diffusion.families.stable_diffusion import STABLE_DIFFUSION
from whence.diffusion.families.unet import UNET

register(STABLE_DIFFUSION)
register(LATENT_DIFFUSION)
register(UNET)  # last, because a UNet2DModel by itself denoises pixels
