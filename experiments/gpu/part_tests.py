"""Part 1: the tests marked `gpu`; the part does not fail with them, its line says which did."""

import os
from pathlib import Path

import pytest
from report import Part, TimeIsUp, run_part

_TESTS = Path(__file__).resolve().parents[2] / "tests" / "gpu"


class Outcomes:
    """A pytest plugin that writes what has become of each test as soon as it is known."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._tests: list[dict[str, object]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's outcome: of its body, or of its setup where that already ended it."""
        if report.when != "call" and report.outcome == "passed":
            return
        said = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else report.longreprtext
        outcome = {"name": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2), "said": said}
        self._tests.append(outcome)
        names = {kind: [str(test["name"]).rpartition("::")[2] for test in self._tests if test["outcome"] == kind]
                 for kind in ("passed", "failed", "skipped")}  # fmt: skip
        line = f"{len(names['passed'])} passed, {len(names['failed'])} failed, {len(names['skipped'])} skipped"
        for kind in ("failed", "skipped"):
            line += f"; {kind}: {', '.join(names[kind])}" if names[kind] else ""
        self._part.save(line, tests=self._tests)


def work(part: Part) -> None:
    os.environ["MMG_TEST_DEVICE"] = part.device.type
    code = pytest.main(["-m", "gpu", "-p", "no:cacheprovider", "-rs", str(_TESTS)], plugins=[Outcomes(part)])
    if code == pytest.ExitCode.INTERRUPTED:
        raise TimeIsUp
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}")


if __name__ == "__main__":
    run_part("tests", work)
