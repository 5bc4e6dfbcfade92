"""The commands `whence evaluate ...`, one file each."""
