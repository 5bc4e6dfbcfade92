"""The commands `whence audit ...`, one module for each."""
