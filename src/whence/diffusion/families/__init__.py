"""The families that Whence knows, one per file."""

from whence.diffusion.families.dit import DIT
from whence.diffusion.families.family import register
from whence.diffusion.families.flux import FLUX
from whence.diffusion.families.flux_2 import FLUX_2
from whence.diffusion.families.latent_diffusion import LATENT_DIFFUSION
from whence.diffusion.families.pixart import PIXART
from whence.diffusion.families.qwen_image import QWEN_IMAGE
from whence.diffusion.families.sana import SANA
from whence.diffusion.families.stable_diffusion import STABLE_DIFFUSION
from whence.diffusion.families.stable_diffusion_3 import STABLE_DIFFUSION_3
from whence.diffusion.families.stable_diffusion_xl import STABLE_DIFFUSION_XL
from whence.diffusion.families.unet import UNET

register(STABLE_DIFFUSION_XL)
register(STABLE_DIFFUSION)  # after XL, because a UNet2DConditionModel by itself is taken for one of this family
register(STABLE_DIFFUSION_3)
register(FLUX)
register(FLUX_2)
register(QWEN_IMAGE)
register(SANA)
register(DIT)
register(PIXART)
register(LATENT_DIFFUSION)
register(UNET)  # last, because a UNet2DModel by itself denoises pixels
