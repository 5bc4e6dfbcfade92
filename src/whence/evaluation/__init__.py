"""How far an attribution can be believed: measures against counterfactuals, with controls and intervals."""

from whence.evaluation.bootstrap import Interval, paired_bootstrap
from whence.evaluation.false_attribution import false_attribution
from whence.evaluation.false_rate import FalseAttribution, Row

__all__ = ["FalseAttribution", "Interval", "Row", "false_attribution", "paired_bootstrap"]
