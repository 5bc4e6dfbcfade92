"""Training data attribution for diffusion models.

For a picture that a diffusion model drew: which training images, and whose, is it made of, and what
would have been drawn without them?

    import whence

    digits = whence.load("digits")
    ensemble = whence.train_ensemble(digits, "runs/ens", members=16)
    samples = whence.sample(ensemble, count=16, seed=0)
    [ablation] = whence.ablate(ensemble, "0/3", units=["17"])
    whence.write_report(ensemble)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.lazy import attribute_reader, homes

#: The contents of Whence: public names by module. They are imported when they are first used, so that
#: `whence --help` doesn't wait for torch. The same names are imported below for type checkers.
# fmt: off
_CONTENTS = {
    # Data and settings
    "data.dataset": "NO_UNIT Dataset", "data.load": "load",
    "config": "AdapterConfig Config ModelConfig SamplerConfig TrainingConfig read_config",
    "engine": "Engine", "errors": "WhenceError",
    # Diffusion models and their training
    "diffusion.training": "train", "diffusion.model": "DiffusionModel", "diffusion.record": "Record",
    "diffusion.draws": "Draws", "diffusion.examples": "Examples",
    "diffusion.origin": "Origin",
    # Encoded ensembles: exact counterfactuals
    "ensemble.model": "load_ensemble",
    "ensemble": "Ablation Codebook Ensemble Samples ablate ablate_each sample train_ensemble",
    "ensemble.landscape": "Landscape landscapes", "ensemble.make_landscape": "landscape",
    "ensemble.losses": "Losses", "ensemble.make_losses": "losses", "ensemble.influence": "Influence",
    "ensemble.screen": "screen",
    # Attribution of any model: scores
    "attribution.attribute": "attribute", "attribution.attribute_top": "attribute_top",
    "attribution.index.make_index": "build_index", "attribution.index.search": "search",
    "attribution.method": "Method", "attribution.queries": "read_queries",
    "attribution.request": "AttributionConfig", "gradients.compression": "Compression",
    "scores.scores": "Estimand Scores", "scores.ends": "ScoreEnds", "scores.stored": "load_scores",
    "similarity.attributors": "Attributor attributor pixel",
    # Evaluation against retrained models and ensembles
    "evaluation.bank": "Bank BankConfig PoolRequest build_bank build_pool",
    "evaluation.false_attribution": "false_attribution", "evaluation.false_rate": "FalseAttribution",
    # Audits: membership, memorisation, and training images that stand out
    "audit.data_audit": "DataAudit", "audit.make_data_audit": "audit_data",
    "audit.membership": "MembershipAudit", "audit.make_membership": "audit_membership",
    "audit.membership_test": "MembershipTest",
    "audit.memorisation": "MemorisationAudit", "audit.make_memorisation": "audit_memorisation",
    # Credit: shares of contributors
    "credit.credit": "Credit", "credit.stored_credit": "load_credit",
    "credit.contributors": "Contributors", "credit.behaviours": "behaviour",
    "credit.estimators": "ESTIMATORS", "credit.study": "Study StudyConfig", "retraining.rule": "RetrainingRule",
    "credit.coalitions": "CoalitionSampling", "credit.study_credit": "credit_of_study",
    "credit.ensemble_credit": "credit_of_ensemble", "credit.score_credit": "credit_of_scores",
    # Proofs, files and pages
    "proof.root": "commit", "proof.make_certificate": "certify", "proof.certificate": "Certificate",
    "proof.verification": "Verification", "proof.make_verification": "verify", "universe.universe": "Universe",
    "universe.make_universe": "write_universe", "report": "write_report",
}
# fmt: on
_HOMES = homes(__name__, _CONTENTS)
__all__ = sorted(_HOMES)
__getattr__ = attribute_reader(__name__, _HOMES)


def __dir__() -> list[str]:
    """Return the public names, imported or not, and what else the module has."""
    return sorted({*globals(), *__all__})


# fmt: off
# isort: off
if TYPE_CHECKING:  # `as` tells type checkers that a name is public
    from whence.data.dataset import NO_UNIT as NO_UNIT, Dataset as Dataset
    from whence.data.load import load as load
    from whence.config import AdapterConfig as AdapterConfig, Config as Config, ModelConfig as ModelConfig
    from whence.config import SamplerConfig as SamplerConfig, TrainingConfig as TrainingConfig
    from whence.config import read_config as read_config
    from whence.engine import Engine as Engine
    from whence.errors import WhenceError as WhenceError
    from whence.diffusion.training import train as train
    from whence.diffusion.model import DiffusionModel as DiffusionModel
    from whence.diffusion.record import Record as Record
    from whence.diffusion.draws import Draws as Draws
    from whence.diffusion.examples import Examples as Examples
    from whence.diffusion.origin import Origin as Origin
    from whence.ensemble import Ablation as Ablation, Codebook as Codebook, Ensemble as Ensemble, Samples as Samples
    from whence.ensemble import ablate as ablate, ablate_each as ablate_each, sample as sample
    from whence.ensemble import train_ensemble as train_ensemble
    from whence.ensemble.model import load_ensemble as load_ensemble
    from whence.ensemble.landscape import Landscape as Landscape, landscapes as landscapes
    from whence.ensemble.make_landscape import landscape as landscape
    from whence.ensemble.losses import Losses as Losses
    from whence.ensemble.make_losses import losses as losses
    from whence.ensemble.influence import Influence as Influence
    from whence.ensemble.screen import screen as screen
    from whence.attribution.attribute import attribute as attribute
    from whence.attribution.index.make_index import build_index as build_index
    from whence.attribution.index.search import search as search
    from whence.attribution.attribute_top import attribute_top as attribute_top
    from whence.attribution.method import Method as Method
    from whence.attribution.queries import read_queries as read_queries
    from whence.attribution.request import AttributionConfig as AttributionConfig
    from whence.gradients.compression import Compression as Compression
    from whence.scores.ends import ScoreEnds as ScoreEnds
    from whence.scores.scores import Estimand as Estimand, Scores as Scores
    from whence.scores.stored import load_scores as load_scores
    from whence.similarity.attributors import Attributor as Attributor, attributor as attributor, pixel as pixel
    from whence.evaluation.bank import Bank as Bank, BankConfig as BankConfig, PoolRequest as PoolRequest
    from whence.evaluation.bank import build_bank as build_bank, build_pool as build_pool
    from whence.evaluation.false_attribution import false_attribution as false_attribution
    from whence.evaluation.false_rate import FalseAttribution as FalseAttribution
    from whence.audit.data_audit import DataAudit as DataAudit
    from whence.audit.make_data_audit import audit_data as audit_data
    from whence.audit.membership import MembershipAudit as MembershipAudit
    from whence.audit.make_membership import audit_membership as audit_membership
    from whence.audit.membership_test import MembershipTest as MembershipTest
    from whence.audit.memorisation import MemorisationAudit as MemorisationAudit
    from whence.audit.make_memorisation import audit_memorisation as audit_memorisation
    from whence.credit.credit import Credit as Credit
    from whence.credit.stored_credit import load_credit as load_credit
    from whence.credit.contributors import Contributors as Contributors
    from whence.credit.behaviours import behaviour as behaviour
    from whence.credit.estimators import ESTIMATORS as ESTIMATORS
    from whence.credit.study import Study as Study, StudyConfig as StudyConfig
    from whence.retraining.rule import RetrainingRule as RetrainingRule
    from whence.credit.coalitions import CoalitionSampling as CoalitionSampling
    from whence.credit.study_credit import credit_of_study as credit_of_study
    from whence.credit.ensemble_credit import credit_of_ensemble as credit_of_ensemble
    from whence.credit.score_credit import credit_of_scores as credit_of_scores
    from whence.proof.root import commit as commit
    from whence.proof.make_certificate import certify as certify
    from whence.proof.certificate import Certificate as Certificate
    from whence.proof.make_verification import verify as verify
    from whence.proof.verification import Verification as Verification
    from whence.universe.universe import Universe as Universe
    from whence.universe.make_universe import write_universe as write_universe
    from whence.report import write_report as write_report
