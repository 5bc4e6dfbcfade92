"""The commands `whence evaluate ...`, grouped by what scores are compared with."""
