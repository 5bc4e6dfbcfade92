"""Credit: from training examples to the people behind them."""
