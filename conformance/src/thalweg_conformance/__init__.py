"""The conformance suite: rules of the HAL as tests that any installed driver can be run against.

``thalweg-conformance run --driver NAME`` is the program; ``thalweg_conformance.run_suite`` the function. The rules are in
``thalweg_conformance.suite``, one file for each HAL area; they ask for capabilities and never for a driver's name.
"""

from thalweg_conformance.outcomes import Outcome
from thalweg_conformance.report import Report, Result
from thalweg_conformance.rules import Level
from thalweg_conformance.session import run_suite
from thalweg_conformance.subject import Subject

__all__ = ["Level", "Outcome", "Report", "Result", "Subject", "run_suite"]
