"""How far an attribution can be believed: measures against counterfactuals, with controls and intervals."""

from whence.evaluation.exact.false_attribution import false_attribution
from whence.evaluation.exact.false_rate import FalseAttribution, Row
from whence.evaluation.statistics.bootstrap import Interval, paired_bootstrap

__all__ = ["FalseAttribution", "Interval", "Row", "false_attribution", "paired_bootstrap"]
