"""The tab's routes: static files of the page, plotly where it is installed, and the runs' data."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard import errors
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import Response, wrappers

from gradlab.tensorboard_plugin.data import Source
from gradlab.tensorboard_plugin.loader import NAME

STATIC = Path(__file__).parent / "static"
DAY = 86_400  # seconds
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

App = Callable[..., Any]


class GradlabPlugin(base_plugin.TBPlugin):
    """TensorBoard's side of the tab."""

    plugin_name = NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        super().__init__(context)
        self._source = Source(context.data_provider)

    def is_active(self) -> bool:
        """False: TensorBoard then looks for this plugin's data by itself."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        return base_plugin.FrontendMetadata(es_module_path="/static/main.js", tab_name="Gradlab")

    def get_plugin_apps(self) -> dict[str, App]:
        files = {f"/static/{path.relative_to(STATIC).as_posix()}": _file(path) for path in _files()}
        return {**files, "/plotly.js": _route(_plotly), "/runs": _route(self._runs), "/tag": _route(self._tag)}

    def _runs(self, request: wrappers.Request) -> Response:
        return _json(request, self._source.runs(*_whence(request)))

    def _tag(self, request: wrappers.Request) -> Response:
        run, tag = request.args.get("run"), request.args.get("tag")
        if run is None or tag is None:
            raise errors.InvalidArgumentError("name a run and a tag: /tag?run=…&tag=…")
        content = self._source.tag(*_whence(request), run, tag)
        return http_util.Respond(request, content, "application/octet-stream", encoding=None)


def _whence(request: wrappers.Request) -> tuple[Any, str]:
    from tensorboard import plugin_util  # it imports libraries that warn of their own age

    return plugin_util.context(request.environ), plugin_util.experiment_id(request.environ)


def _route(answer: Callable[[wrappers.Request], Response]) -> App:
    """A route; an error in it becomes a message for the page, and leaves TensorBoard running."""

    @wrappers.Request.application
    def serve(request: wrappers.Request) -> Response:
        try:
            return answer(request)
        except errors.PublicError as error:
            return _json(request, {"error": str(error)}, error.http_code)
        except Exception as error:
            return _json(request, {"error": f"{type(error).__name__}: {error}"}, 500)

    return serve


def _json(request: wrappers.Request, content: Any, code: int = 200) -> Response:
    return http_util.Respond(request, content, "application/json", code=code)


def _files() -> list[Path]:
    return sorted(path for path in STATIC.rglob("*") if path.is_file() and path.suffix in TYPES)


def _file(path: Path) -> App:
    """A route for one file of the page; only what is listed at the start can be asked for."""
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    return _route(lambda request: http_util.Respond(request, path.read_bytes(), kind))


def _plotly(request: wrappers.Request) -> Response:
    """plotly.js out of the package plotly: an optional extra."""
    try:
        packed = _packed_plotly()
    except (ImportError, OSError) as error:
        return _json(request, {"error": f"no plotly here ({error}): pip install 'gradlab-torch[tab]'"}, 404)
    return http_util.Respond(request, packed, "text/javascript", content_encoding="gzip", expires=DAY)


@functools.cache
def _packed_plotly() -> bytes:
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise ImportError("the package plotly is not installed")
    return gzip.compress((Path(found.origin).parent / "package_data" / "plotly.min.js").read_bytes(), 6)
