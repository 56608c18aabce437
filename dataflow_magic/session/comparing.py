"""Reads what a comparison of two runs needs beyond their views: their scripts. Never raises for what it cannot read."""

from __future__ import annotations

import asyncio
import logging

from dataflow_magic.cell.script import object_key
from dataflow_magic.client.objects import RangedObjects
from dataflow_magic.errors import DataflowError
from dataflow_magic.models.comparison import RanScript
from dataflow_magic.models.marker import bare
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import RAN_SCRIPT
from dataflow_magic.session.service import Service

__all__ = ["ran_script"]

logger = logging.getLogger(__name__)

SECONDS = 10.0
"""Limit of reading one script."""


async def ran_script(view: RunView, service: Service) -> RanScript:
    """Return the script that a run had where the service keeps it, else what the storage has now."""
    try:
        async with asyncio.timeout(SECONDS):
            objects = await service.objects()
            execution = view.execution
            condition = (execution and execution.job_condition) or view.condition
            if execution and (logs := bare(condition.log_path)):
                kept = await _text(objects, f"{logs}/{execution.job_execution_id}/{RAN_SCRIPT}")
                if kept is not None:
                    return RanScript(kept, is_kept=True)
            path = view.request.condition.script_path
            return RanScript(await _text(objects, object_key(path, view.job_name)) if path else None)
    except (DataflowError, TimeoutError):
        logger.debug("no script of run %s", view.run_id, exc_info=True)
        return RanScript()


async def _text(objects: RangedObjects, path: str) -> str | None:
    content = await objects.read(path)
    return None if content is None else content.decode("utf-8", "replace")
