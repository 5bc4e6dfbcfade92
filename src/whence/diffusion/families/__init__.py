"""Families of networks, one per file: how a network is read from a folder of diffusers, written and made anew."""
