# SPDX-License-Identifier: Apache-2.0
"""pytest as the other test programs speak: "ok NAME" for each case, and a closing line."""

import pytest

_WORDS = {"passed": "ok", "failed": "FAIL", "skipped": "SKIP"}


class Report:
    def __init__(self):
        self.outcomes = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid.split("::", 1)[-1]] = report.outcome

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self):
        for name, outcome in self.outcomes.items():
            print(_WORDS[outcome], name.replace("::", ".").replace(" ", "_"))
        if not self.outcomes:
            return  # a file that is skipped as a whole; its exit status says so
        counts = [list(self.outcomes.values()).count(outcome) for outcome in _WORDS]
        print("%d passed, %d failed, %d skipped" % tuple(counts))


def pytest_configure(config):
    config.pluginmanager.register(Report(), "weir-report")
