"""The exact derivative of a recorded training run: its steps replayed, and differentiated backwards or forwards."""
