"""What can go wrong on purpose: `devserver(faults=FaultPlan(...))`, or `with server.faults.inject(...)`."""

from __future__ import annotations

from airflow_provider_btrdb.devserver.faults import (
    Answer,
    Corrupt,
    CutAfter,
    Delay,
    Fault,
    FaultPlan,
    LoseReply,
    Refuse,
)

__all__ = ["Answer", "Corrupt", "CutAfter", "Delay", "Fault", "FaultPlan", "LoseReply", "Refuse"]
