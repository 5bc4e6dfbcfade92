"""The families that Whence knows, one per file."""

from whence.diffusion.families.family import register
from whence.diffusion.families.unet import UNET

register(UNET)
