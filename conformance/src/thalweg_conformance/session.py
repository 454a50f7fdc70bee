"""One run of the suite against one subject: pytest collects and runs; this plugin selects, judges and records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import importlib_metadata
import pytest
from thalweg.api import API_VERSION, InvalidArgument, ThalwegError
from thalweg.hal.driver import Device

from thalweg_conformance.bench import Bench
from thalweg_conformance.kernels import KernelLibrary
from thalweg_conformance.opt_outs import apply_expected_failure
from thalweg_conformance.outcomes import Blocked, Hung, Outcome, Verdict, classify, one_line
from thalweg_conformance.report import Report, Result
from thalweg_conformance.rules import Level, Rule, rule_of
from thalweg_conformance.subject import Subject, declared_capabilities, describe_machine
from thalweg_conformance.time_limit import run_within

DEFAULT_TIME_LIMIT = 30.0
"""Seconds for one test."""

_log = logging.getLogger("thalweg.conformance")

OnResult = Callable[[Result], None]


def run_suite(
    subject: Subject,
    *,
    level: Level = Level.CORE,
    pattern: str = "",
    target: str = "",
    seed: int = 0,
    time_limit: float = DEFAULT_TIME_LIMIT,
    on_result: OnResult = lambda _: None,
) -> Report:
    """Run the suite against ``subject`` in this process.

    :param pattern: a pytest ``-k`` expression over ids, areas and names.
    :param target: the target backend that made the kernels, for the report.
    :param on_result: called after each test.
    :raises InvalidArgument: the opt-outs do not fit the tests, or ``pattern`` selects none.
    """
    session = SuiteSession(subject, level, seed, time_limit, on_result)
    started = time.monotonic()
    suite = resources.files("thalweg_conformance").joinpath("suite")
    with resources.as_file(suite) as folder:
        # Nothing of the place it is called from takes part: no ini file, conftest, cache or other pytest plugin.
        arguments = [str(folder), f"--rootdir={folder}", f"-c{folder / 'pytest.ini'}", "--noconftest"]
        arguments += ["--disable-plugin-autoload", "-pno:cacheprovider", "-pno:terminal", "-pno:doctest"]
        status = pytest.main(arguments + ([f"-k{pattern}"] if pattern else []), plugins=[session])
    if session.error is not None:
        raise session.error
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.close_the_rest("the run was interrupted")
    if not session.selected:
        raise InvalidArgument(f"no test of level {level.label} matches {pattern!r}")
    device = session.device_if_made
    report = Report(
        suite_version=importlib_metadata.version("thalweg-conformance"),
        thalweg_version=importlib_metadata.version("thalweg"),
        api_version=API_VERSION,
        level=level.label,
        seed=seed,
        plugin={
            "driver": subject.driver_name,
            "distribution": subject.distribution,
            "version": subject.version,
        },
        device=subject.describe_device(device),
        machine=describe_machine(),
        kernels=session.kernels_origin,
        target=target,
        results=session.results,
        seconds=round(time.monotonic() - started, 3),
    )
    session.close_device()
    return report


class SuiteSession:
    """The pytest plugin of one run. Holds the device under test, which is made when the first test asks for it."""

    def __init__(self, subject: Subject, level: Level, seed: int, time_limit: float, on_result: OnResult):
        self._subject = subject
        self._level = level
        self._seed = seed
        self._time_limit = time_limit
        self._on_result = on_result
        self._device: Device | None = None
        self._library: KernelLibrary | None = None
        self._obstacle: Blocked | None = None
        self._rules: dict[str, Rule] = {}
        self._verdicts: dict[str, tuple[Verdict, float]] = {}
        self.selected = 0
        self.error: ThalwegError | None = None

    @property
    def results(self) -> tuple[Result, ...]:
        """The results so far, in the order of the tests."""
        return tuple(self._result(node) for node in self._rules if node in self._verdicts)

    @property
    def device_if_made(self) -> Device | None:
        """The device under test, unless no test asked for it or it could not be made."""
        return self._device

    @property
    def kernels_origin(self) -> str:
        """Where the kernels came from; ``none used`` if no test asked for them."""
        return self._library.origin if self._library is not None else "none used"

    # What tests ask for.

    @pytest.fixture
    def subject(self) -> Subject:
        """Give the driver, and what its plugin says of itself."""
        return self._subject

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        """Give the device under test with what is needed to work on it."""
        yield Bench(self._require_device(), self._seed, self._time_limit / 3)

    @pytest.fixture
    def library(self, bench: Bench) -> KernelLibrary:
        """Give an executable with kernels that the device should run."""
        if self._library is None:
            try:
                self._library = self._subject.kernels(bench.device)
            except ThalwegError as error:
                raise Blocked(f"no kernels to test with: {one_line(error)}") from error
        return self._library

    def _require_device(self) -> Device:
        if self._obstacle is not None:
            raise self._obstacle
        if self._device is None:
            made: list[Device] = []
            try:
                run_within(
                    lambda: made.append(self._subject.create_device()),
                    self._time_limit,
                    "creating the device",
                )
            except (Exception, Hung) as error:
                self._obstacle = Blocked(f"no device {self._subject.uri}: {one_line(error)}")
                raise self._obstacle from error
            self._device = made[0]
        return self._device

    def close_device(self) -> None:
        """Close the device under test; a driver that hangs in it does not hang the run."""
        device, self._device = self._device, None
        if device is None:
            return
        try:
            run_within(device.close, self._time_limit, "closing the device")
        except Hung as error:
            _log.warning("%s; its threads are left behind", error)

    # What pytest asks.

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tests of the level that the plugin did not opt out of for good."""
        kept, excluded = [], []
        for item in items:
            rule = self._rules[item.nodeid]
            if rule.level > self._level:
                self._verdicts[item.nodeid] = Verdict(Outcome.NOT_RUN, f"level {rule.level.label}"), 0.0
                excluded.append(item)
            elif (entry := self._subject.opt_outs.find(rule)) and entry.kind is Outcome.NOT_APPLICABLE:
                self._verdicts[item.nodeid] = Verdict(Outcome.NOT_APPLICABLE, entry.reason), 0.0
                excluded.append(item)
                self.selected += 1
            else:
                kept.append(item)
        self.selected += len(kept)
        if excluded:
            config.hook.pytest_deselected(items=excluded)
            items[:] = kept

    def pytest_itemcollected(self, item: pytest.Function) -> None:
        """Read the test's rule; ``-k`` may name its id and area."""
        callspec = getattr(item, "callspec", None)
        rule = rule_of(item.function, callspec.id if callspec is not None else "")
        self._rules[item.nodeid] = rule
        item.extra_keyword_matches.update((rule.id, rule.area, rule.path))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Record what is left out."""
        for item in items:
            self._verdicts.setdefault(item.nodeid, (Verdict(Outcome.NOT_RUN, "not selected"), 0.0))

    def pytest_collection_finish(self) -> None:
        """Check the opt-outs, now that all tests are known."""
        try:
            self._subject.opt_outs.check(self._rules.values())
        except InvalidArgument as error:
            self.error = error
            raise pytest.exit.Exception(str(error)) from error

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Run the test under the time limit."""
        names = pyfuncitem._fixtureinfo.argnames
        arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
        run_within(lambda: pyfuncitem.obj(**arguments), self._time_limit, self._rules[pyfuncitem.nodeid].id)
        return True

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Judge the test by what it, or its set-up, raised."""
        error = call.excinfo.value if call.excinfo is not None else None
        if call.when == "teardown" or (call.when == "setup" and error is None):
            return
        rule = self._rules[item.nodeid]
        if call.when == "setup":
            verdict = classify("", True, error)
        else:
            declared = rule.capability in declared_capabilities(self._subject, self._device)
            verdict = classify(rule.capability, declared, error)
        if isinstance(error, Hung):
            self._device = None  # what hangs in it is not the next test's fault; that one gets a new device
        entry = self._subject.opt_outs.find(rule)
        if entry is not None:
            verdict = apply_expected_failure(entry, verdict)
        self._verdicts[item.nodeid] = verdict, round(call.duration, 4)
        self._on_result(self._result(item.nodeid))

    def close_the_rest(self, reason: str) -> None:
        """Record what has no verdict as not run."""
        for node in self._rules:
            self._verdicts.setdefault(node, (Verdict(Outcome.NOT_RUN, reason), 0.0))

    def _result(self, node: str) -> Result:
        rule, (verdict, seconds) = self._rules[node], self._verdicts[node]
        return Result(
            id=rule.id,
            name=rule.name,
            area=rule.area,
            capability=rule.capability,
            level=rule.level.label,
            rule=rule.sentence,
            reference=rule.reference,
            outcome=verdict.outcome,
            reason=verdict.reason,
            seconds=seconds,
        )
