"""Weights of training examples that raise what a model does for its worst group, checked by training again.

- `bounded_weights`: from a derivative to weights
- `reweighting`: the weights, what they promise and what retrained models show
- `make_reweighting`: from a recorded run to its reweighting
- `retrained`: the models of other seeds, with the weights and without
"""
