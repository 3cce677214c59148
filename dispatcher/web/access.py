"""gunicorn's own log, without tokens and without a format of its own.

Records go to the root logger, whose handlers write them in the format of the service.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from dispatcher.web.blank import blanked

TOO_SLOW = "a client said nothing for too long: its connection is closed"


class BlankTokens(logging.Filter):
    """Tokens in a request's address must not reach a log, whoever writes it."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the arguments do not fit: no reason to fail the request
            text = f"{record.msg} {record.args}"
        record.msg, record.args = blanked(text), ()
        return True


class AccessLog(Logger):  # type: ignore[misc]
    """gunicorn's logger without handlers of its own."""

    def setup(self, cfg: Any) -> None:
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.filters.clear()
            log.addFilter(BlankTokens())
            log.propagate = True

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """A client that fell silent is no fault of ours."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.info(TOO_SLOW)
        else:
            super().exception(msg, *args, **kwargs)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Requests are logged by ``request_log``, which sees also how they begin."""
