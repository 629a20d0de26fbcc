"""The Celery application of the measurement: broker and results in one Redis, named by a variable; payloads pickled."""

from __future__ import annotations

import os

from celery import Celery

from hack.benches.peers import work

REDIS = "SKYWARD_BENCH_REDIS"

app = Celery("bench", broker=os.environ[REDIS], backend=os.environ[REDIS])
app.conf.update(
    task_serializer="pickle",
    result_serializer="pickle",
    accept_content=["pickle"],
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
TASKS = {function: app.task(function, name=function.__name__) for function in (work.noop, work.length, work.echo)}
