"""The commands `whence evaluate ...`, a file for each truth that scores are compared with."""
