"""Tasks in processes of their own, started again after a crash, a hang, or an error that only a new process cures."""

from __future__ import annotations

from edgekit.runtime.supervise.report import SuperviseReport, TaskReport
from edgekit.runtime.supervise.restarts import Restarts
from edgekit.runtime.supervise.supervisor import Supervisor, supervise
from edgekit.runtime.supervise.worker import Worker

__all__ = ["Restarts", "SuperviseReport", "Supervisor", "TaskReport", "Worker", "supervise"]
