"""One run of the suite in this process: pytest collects and runs; this plugin selects, judges and records."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from importlib import resources
from typing import Any

import importlib_metadata
import pytest
from thalweg.api import API_VERSION, InvalidArgument, Registry, ThalwegError
from thalweg.hal.driver import Device

from thalweg_conformance.bench import Bench
from thalweg_conformance.kernels import KernelLibrary, library_chooser
from thalweg_conformance.opt_outs import apply_expected_failure
from thalweg_conformance.outcomes import Blocked, Hung, NotRun, Outcome, Verdict, classify, one_line
from thalweg_conformance.report import Report, Result, result_of
from thalweg_conformance.rules import Level, Rule, rule_of
from thalweg_conformance.settings import RunSettings, Watcher
from thalweg_conformance.subject import Subject, declared_capabilities, describe_machine, subjects_of
from thalweg_conformance.time_limit import run_within

END = Rule(
    id="HAL-DRV-11",
    name="ends",
    area="driver",
    sentence="when its tests are over, the device closes, and the process that used it ends as any other.",
    reference="thalweg.hal.driver.Device.close.",
    level=Level.CORE,
    capability="",
)
"""The rule that no test function can check: it is judged after the last of them."""


def run_suite(
    subject: Subject,
    settings: RunSettings = RunSettings(),
    watcher: Watcher | None = None,
    settled: Collection[str] = (),
) -> Report:
    """Run the suite against ``subject`` in this process; a driver that ends the process ends the run.

    :param settled: ids of tests to leave out of the run and of the report.
    :raises InvalidArgument: the opt-outs do not fit the tests, or the settings' pattern selects none.
    """
    watcher = watcher or Watcher()
    session = SuiteSession(subject, settings, watcher, settled)
    started = time.monotonic()
    suite = resources.files("thalweg_conformance").joinpath("suite")
    with resources.as_file(suite) as folder:
        # Nothing of the place it is called from takes part: no ini file, conftest, cache or other plugin.
        arguments = [str(folder), f"--rootdir={folder}", f"-c{folder / 'pytest.ini'}", "--noconftest"]
        arguments += ["--disable-plugin-autoload", "-pno:cacheprovider", "-pno:terminal", "-pno:doctest"]
        if settings.pattern:
            arguments.append(f"-k{settings.pattern}")
        status = pytest.main(arguments, plugins=[session])
    if session.error is not None:
        raise session.error
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.close_the_rest("the run was interrupted")
    if not session.selected:
        raise InvalidArgument(f"no test of level {settings.level.label} matches {settings.pattern!r}")

    def report() -> Report:
        return Report(
            suite_version=importlib_metadata.version("thalweg-conformance"),
            thalweg_version=importlib_metadata.version("thalweg"),
            api_version=API_VERSION,
            level=settings.level.label,
            seed=settings.seed,
            plugin={
                "driver": subject.driver_name,
                "distribution": subject.distribution,
                "version": subject.version,
            },
            device=session.description or subject.describe_device(None),
            machine=describe_machine(),
            kernels=session.kernels_origin,
            target=settings.target,
            results=session.results,
            seconds=round(time.monotonic() - started, 3),
        )

    watcher.reported(report())
    session.end()
    return report()


def run_driver_in_process(
    driver: str,
    settings: RunSettings = RunSettings(),
    device: str = "",
    on_start: Callable[[str], object] = lambda uri: None,
    on_result: Callable[[Result], object] = lambda result: None,
) -> list[Report]:
    """Do what ``isolation.run_driver`` does, but in this process, where a debugger can follow."""
    registry = Registry.from_environment()
    kernels = library_chooser(registry, settings.target)
    reports = []
    for subject in subjects_of(registry, driver, kernels, device):
        on_start(str(subject.uri))
        reports.append(run_suite(subject, settings, _Telling(on_result)))
    return reports


class _Telling(Watcher):
    def __init__(self, on_result: Callable[[Result], object]):
        self._on_result = on_result

    def ended(self, result: Result) -> None:
        self._on_result(result)


class SuiteSession:
    """The pytest plugin of one run. Holds the device under test, made when the first test asks for it."""

    def __init__(
        self, subject: Subject, settings: RunSettings, watcher: Watcher, settled: Collection[str] = ()
    ):
        self._subject = subject
        self._settings = settings
        self._watcher = watcher
        self._settled = frozenset(settled)
        self._device: Device | None = None
        self._library: KernelLibrary | None = None
        self._obstacle = ""
        self._rules: dict[str, Rule] = {}
        self._verdicts: dict[str, tuple[Verdict, float]] = {}
        self.description: dict[str, Any] = {}
        self.selected = 0
        self.error: ThalwegError | None = None

    @property
    def results(self) -> tuple[Result, ...]:
        """The results so far, in the order of the tests."""
        return tuple(self._result(node) for node in self._rules if node in self._verdicts)

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
        yield Bench(self._require_device(), self._settings.seed, self._settings.time_limit / 3)

    @pytest.fixture
    def library(self, bench: Bench) -> KernelLibrary:
        """Give an executable with kernels that the device should run."""
        if self._library is None:
            try:
                self._library = self._subject.kernels(bench.device)
            except ThalwegError as error:
                raise Blocked(f"no kernels to test with: {one_line(error)}") from error
            self._watcher.kernels_chosen(self._library.origin)
        return self._library

    def _require_device(self) -> Device:
        if self._obstacle:
            raise Blocked(self._obstacle)
        if self._device is None:
            made: list[Device] = []
            try:
                run_within(
                    lambda: made.append(self._subject.create_device()),
                    self._settings.time_limit,
                    "creating the device",
                )
                self.description = self._subject.describe_device(made[0])
            except (Exception, Hung) as error:
                self._obstacle = f"no device {self._subject.uri}: {one_line(error)}"
                raise Blocked(self._obstacle) from error
            self._device = made[0]
            self._watcher.device_made(self.description)
        return self._device

    def end(self) -> None:
        """Close the device under test and judge the rule ``END`` by it."""
        if END.id in self._settled:
            return
        self._rules[END.id] = END
        self._watcher.started(END)
        entry = self._subject.opt_outs.find(END)
        device, self._device = self._device, None
        error: BaseException | None = None
        if device is None:
            error = Blocked(self._obstacle) if self._obstacle else NotRun("no test asked for a device")
        else:
            try:
                run_within(device.close, self._settings.time_limit, "closing the device")
            except (Exception, Hung) as caught:
                error = caught
        if entry is not None and entry.kind is Outcome.NOT_APPLICABLE:
            self._verdicts[END.id] = Verdict(Outcome.NOT_APPLICABLE, entry.reason), 0.0
        else:
            verdict = classify("", True, error)
            self._verdicts[END.id] = apply_expected_failure(entry, verdict) if entry else verdict, 0.0
        self._watcher.ended(self._result(END.id))
        if isinstance(error, Hung):
            self._watcher.hung()

    # What pytest asks.

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tests of the level that the plugin did not opt out of for good."""
        kept, excluded = [], []
        for item in items:
            rule = self._rules[item.nodeid]
            if rule.id in self._settled:
                excluded.append(item)
                self.selected += 1
            elif rule.level > self._settings.level:
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
            if self._rules[item.nodeid].id not in self._settled:
                self._verdicts.setdefault(item.nodeid, (Verdict(Outcome.NOT_RUN, "not selected"), 0.0))

    def pytest_collection_finish(self) -> None:
        """Check the opt-outs, now that all tests are known."""
        try:
            self._subject.opt_outs.check([*self._rules.values(), END])
        except InvalidArgument as error:
            self.error = error
            raise pytest.exit.Exception(str(error)) from error
        decided = {self._rules[node].id: self._result(node) for node in self._rules if node in self._verdicts}
        self._watcher.collected([*self._rules.values(), END], decided)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell that a test starts, its set-up included."""
        self._watcher.started(self._rules[nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Run the test under the time limit."""
        names = pyfuncitem._fixtureinfo.argnames
        arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
        run_within(
            lambda: pyfuncitem.obj(**arguments), self._settings.time_limit, self._rules[pyfuncitem.nodeid].id
        )
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
        entry = self._subject.opt_outs.find(rule)
        if entry is not None:
            verdict = apply_expected_failure(entry, verdict)
        self._verdicts[item.nodeid] = verdict, round(call.duration, 4)
        self._watcher.ended(self._result(item.nodeid))
        if isinstance(error, Hung):
            self._device = None  # what hangs in it is not the next test's fault; that one gets a new device
            self._watcher.hung()

    def close_the_rest(self, reason: str) -> None:
        """Record what has no verdict as not run."""
        for node in self._rules:
            if self._rules[node].id not in self._settled:
                self._verdicts.setdefault(node, (Verdict(Outcome.NOT_RUN, reason), 0.0))

    def _result(self, node: str) -> Result:
        verdict, seconds = self._verdicts[node]
        return result_of(self._rules[node], verdict, seconds)
