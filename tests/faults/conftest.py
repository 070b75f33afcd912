"""Faults meet the same workspace, scripted API and sandbox that the tests of the stages use."""

from tests.batches.conftest import api, at_sandbox, key, workspace

__all__ = ["api", "at_sandbox", "key", "workspace"]
