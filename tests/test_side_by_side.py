"""Tests run side by side: those that share something slow stay in one process."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("kept together")
def test_groups_are_seen(request):
    """xdist gives whole groups to its workers by a name behind the test's own (3.8 and before)."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@kept together")
        assert "PYTEST_XDIST_WORKER" in os.environ
