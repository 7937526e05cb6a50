"""A handler that was written for AWS Lambda: a function of an event and a context."""

from __future__ import annotations

import inspect
import os
import sys
import time
from typing import Any

from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.protocols.lambda_handler import Handlers, Raised
from corten_serve.schema.signature import Described
from corten_serve.worker.current import time_left
from corten_serve.worker.tracebacks import user_traceback


class Context:
    """What a handler may ask beside its event (docs.aws.amazon.com/lambda, "Using the Lambda context object to retrieve Python
    function information")."""

    def __init__(self, identity: str) -> None:
        self.aws_request_id = identity
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME") or "function"
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION") or "$LATEST"
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") or "1024"
        self.invoked_function_arn = f"arn:aws:lambda:local:000000000000:function:{self.function_name}"
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = time.strftime("%Y/%m/%d/[$LATEST]local")
        self.identity = None
        self.client_context = None
        self._until = None if time_left() is None else time.monotonic() + (time_left() or 0.0)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds that are left; a quarter of an hour, Lambda's most, where nothing limits them."""
        return 900_000 if self._until is None else max(0, int((self._until - time.monotonic()) * 1000))

    def log(self, message: Any) -> None:
        """Write to the log."""
        print(message, flush=True)


class LambdaHandler:
    """A predictor for `handlers_of` around the project's function."""

    alone = True
    """No protocol of Corten's own is served beside it: every path is the handler's."""

    def __init__(self, function: Any, target: str) -> None:
        if not callable(function) or inspect.isclass(function):
            raise PredictorError(
                f"'{target}' is no function", hint="name the handler: 'lambda_function:lambda_handler'"
            )
        self._function = function
        self.__doc__ = inspect.getdoc(function) or ""
        self.predict = Described(self._call, [("event", Any, True, None)], Any, self.__doc__)

    def protocol(self, model: Any) -> Handlers:
        """Lambda's own protocol for this handler."""
        return Handlers(model, Context)

    def _call(self, event: Any, context: Any = None) -> Any:
        try:
            return self._function(event, context if context is not None else Context(""))
        except InvalidInput:
            raise
        except Exception as error:
            print(user_traceback(error), file=sys.stderr, end="", flush=True)
            return Raised(type(error).__name__, str(error))
