"""Whole-program variants of one module: which are made, in what order, and how they share constants."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from thalweg.api import NoOptions, TargetBackendSpec
from thalweg.codegen.target import TargetBackend, TargetConfiguration
from thalweg.compiler.variants import ConstantTable, variant_jobs
from thalweg.errors import InvalidArgument
from thalweg.module.module import Variant
from thalweg.plugin.registry import Registry

FEATURES = {"old": [], "new": ["wide"], "newest": ["wide", "wider"], "new-again": ["wide"]}


@dataclass(frozen=True)
class Options:
    cpu: str = field(default="old", metadata={"flag": "--cpu", "variants": True})
    level: int = 1


@dataclass
class Backend(TargetBackend):
    name: str
    cpu: str = "old"

    def configuration(self) -> TargetConfiguration:
        predicate = {"executable_format": f"{self.name}-1", "features": FEATURES[self.cpu]}
        return TargetConfiguration(self.name, f"{self.name}-1", predicate)

    def plan(self, dispatch, config):
        raise NotImplementedError("no test compiles with it")

    def translate(self, kernel, config):
        raise NotImplementedError("no test compiles with it")

    def link(self, translated, config):
        raise NotImplementedError("no test compiles with it")


class FakeRegistry(Registry):
    """``levels`` makes a variant for each of its processors; ``plain`` makes one."""

    def __init__(self):
        super().__init__([])

    def target_backend(self, name):
        if name == "plain":
            return TargetBackendSpec(
                name=name, summary=name, options=NoOptions, create=lambda options: Backend(name)
            )
        return TargetBackendSpec(
            name=name, summary=name, options=Options, create=lambda options: Backend(name, options.cpu)
        )


def names(backends, **options) -> list[str]:
    return [job.variant for job in variant_jobs(backends, options, FakeRegistry())]


def test_one_variant_has_its_backends_name():
    (job,) = variant_jobs(["levels"], {"levels": {"cpu": "new", "level": 2}}, FakeRegistry())
    assert (job.name, job.variant, job.options) == ("levels", "levels", {"cpu": "new", "level": 2})


@pytest.mark.parametrize(
    "cpus", ["old,newest,new", "newest, new, old", ["new", "old,newest"], ("old", "new", "newest", "new")]
)
def test_what_asks_for_more_of_the_device_comes_first(cpus):
    assert names(["levels"], levels={"cpu": cpus}) == ["levels-newest", "levels-new", "levels-old"]


def test_backends_keep_the_order_in_which_they_are_named():
    options = {"levels": {"cpu": "old,new"}}
    assert names(["plain", "levels"], **options) == ["plain", "levels-new", "levels-old"]
    assert names(["levels", "plain", "levels"], **options) == ["levels-new", "levels-old", "plain"]


def test_each_variant_has_its_own_options_and_shares_the_others():
    jobs = variant_jobs(["levels"], {"levels": {"cpu": ("old", "new"), "level": 3}}, FakeRegistry())
    assert [job.options for job in jobs] == [{"cpu": "new", "level": 3}, {"cpu": "old", "level": 3}]
    assert [job.config.predicate["features"] for job in jobs] == [["wide"], []]


def test_a_variant_that_no_device_would_take_is_left_out_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert names(["levels"], levels={"cpu": "new,new-again,old"}) == ["levels-new", "levels-old"]
    assert caplog.messages == [
        "variant 'levels-new-again' is left out: every device that it fits takes variant 'levels-new',"
        " which stands before it"
    ]


def test_an_option_that_the_backend_has_not():
    with pytest.raises(InvalidArgument, match="levels has no option 'cpus'; it has: cpu, level"):
        names(["levels"], levels={"cpus": "new"})
    with pytest.raises(
        InvalidArgument, match="option --cpu of target backend 'levels' is of type str; got 3"
    ):
        names(["levels"], levels={"cpu": ["new", 3]})


def test_equal_constants_are_kept_once_across_variants():
    table = ConstantTable()
    plain = Variant("a", "a", {}, (), (), ("w", "b"))
    weights, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)
    first = table.add(plain, {"w": weights, "b": bias})
    second = table.add(
        replace(plain, name="b", constants=("packed", "w2", "i")),
        {"packed": weights.T, "w2": weights.copy(), "i": np.zeros(3, np.int32)},
    )
    assert first.constants == ("a/w", "a/b")
    assert second.constants == ("b/packed", "a/w", "b/i")  # equal bytes of another type are another constant
    assert list(table.arrays) == ["a/w", "a/b", "b/packed", "b/i"]
    assert table.arrays["a/w"] is weights


def test_constants_without_elements_and_of_rank_zero():
    table = ConstantTable()
    variant = Variant("a", "a", {}, (), (), ("empty", "other", "scalar"))
    arrays = {"empty": np.empty((0, 2), np.float32), "other": np.empty((2, 0), np.float32)}
    keyed = table.add(variant, {**arrays, "scalar": np.float32(1) * np.ones((), np.float32)})
    assert keyed.constants == ("a/empty", "a/other", "a/scalar")
