"""Run a test under a time limit, so that a driver that hangs costs one test and not the run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from thalweg_conformance.outcomes import Hung


def run_within(call: Callable[[], object], seconds: float, what: str) -> None:
    """Run ``call`` on a thread of its own and raise what it raises.

    :raises Hung: it has not returned after ``seconds``; its thread is left behind, as a daemon.
    """
    raised: list[BaseException] = []

    def body() -> None:
        try:
            call()
        except BaseException as error:  # handed to the caller's thread below
            raised.append(error)

    thread = threading.Thread(target=body, name=f"conformance: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Hung(f"{what} has not ended after {seconds:g} s")
    if raised:
        raise raised[0]
