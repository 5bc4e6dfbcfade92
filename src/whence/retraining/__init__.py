"""Models that are trained without some examples, and what is measured of them; banks, deletion and credit use it.

- `subsets`: which examples a model is trained on
- `rule`: how the model is made: trained anew, trained with weight 0 for the others, or fine-tuned
- `retrain`: the training of many such models
- `measurement`: what is measured of a model, and how long it takes
"""

#: How the folder of a retrained model ends; the folder of its measurement has the name without it.
MODEL_SUFFIX = ".model"
