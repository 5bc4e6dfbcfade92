"""How far an attribution can be believed: measures against counterfactuals, with controls and intervals."""
