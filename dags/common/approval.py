"""The approval of a deployment by a person, with an end."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator

from common.garam import garam

if TYPE_CHECKING:
    from airflow.sdk import Context

APPROVE, REFUSE = "Approve", "Refuse"


class DeploymentApproval(HITLOperator):
    """Waits for `gate.approval_hours`, which are read when the task runs; without a response by then, it refuses.

    The wait takes no worker.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Airflow would take an execution_timeout (of the DAG's default arguments) for the time to respond.
        kwargs["execution_timeout"] = None
        super().__init__(options=[APPROVE, REFUSE], defaults=REFUSE, multiple=False, **kwargs)

    def execute(self, context: Context) -> Any:
        """Park the task until there is a response or the time is over."""
        with garam() as ctx:
            self.response_timeout = dt.timedelta(hours=ctx.config.gate.approval_hours)
        return super().execute(context)
