"""The process being explained: denoiser, schedule, draws, training and samplers."""
