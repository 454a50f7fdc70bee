"""The conformance suite: rules of the HAL as tests that any installed driver can be run against.

``thalweg-conformance run --driver NAME`` is the program; ``run_driver`` the function behind it. The rules
are in ``thalweg_conformance.suite``, one file for each HAL area; they ask for capabilities and never for a
driver's name.
"""

from thalweg_conformance.isolation import run_driver
from thalweg_conformance.kernels import KernelLibrary
from thalweg_conformance.outcomes import Outcome
from thalweg_conformance.report import Report, Result
from thalweg_conformance.rules import Level
from thalweg_conformance.session import run_suite
from thalweg_conformance.settings import RunSettings
from thalweg_conformance.subject import Subject

__all__ = [
    "KernelLibrary",
    "Level",
    "Outcome",
    "Report",
    "Result",
    "RunSettings",
    "Subject",
    "run_driver",
    "run_suite",
]
