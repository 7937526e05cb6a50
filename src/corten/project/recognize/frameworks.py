"""What makes a web application when it is called, and which interface the application has."""

from __future__ import annotations

from typing import Literal

Interface = Literal["wsgi", "asgi", "aiohttp", "sanic", "own"]
"""`own` frameworks have no interface that another server could speak: the file is run."""

FRAMEWORKS: dict[str, Interface] = {
    "flask.Flask": "wsgi",
    "flask.app.Flask": "wsgi",
    "apiflask.APIFlask": "wsgi",
    "flask_openapi3.OpenAPI": "wsgi",
    "flask_api.FlaskAPI": "wsgi",
    "eve.Eve": "wsgi",
    "bottle.Bottle": "wsgi",
    "bottle.default_app": "wsgi",
    "falcon.App": "wsgi",
    "falcon.API": "wsgi",
    "django.core.wsgi.get_wsgi_application": "wsgi",
    "dash.Dash": "wsgi",
    "dash.dash.Dash": "wsgi",
    "fastapi.FastAPI": "asgi",
    "fastapi.applications.FastAPI": "asgi",
    "starlette.applications.Starlette": "asgi",
    "quart.Quart": "asgi",
    "litestar.Litestar": "asgi",
    "litestar.app.Litestar": "asgi",
    "starlite.Starlite": "asgi",
    "blacksheep.Application": "asgi",
    "fasthtml.common.FastHTML": "asgi",
    "fasthtml.common.fast_app": "asgi",
    "falcon.asgi.App": "asgi",
    "connexion.App": "asgi",
    "connexion.FlaskApp": "asgi",
    "connexion.AsyncApp": "asgi",
    "django.core.asgi.get_asgi_application": "asgi",
    "aiohttp.web.Application": "aiohttp",
    "sanic.Sanic": "sanic",
    "sanic.app.Sanic": "sanic",
    "tornado.web.Application": "own",
}
"""By full name. Classes that a project derives from these count too."""

WRAPPERS: dict[str, Interface | None] = {
    "ProxyFix": None,
    "WhiteNoise": None,
    "DispatcherMiddleware": None,
    "SharedDataMiddleware": None,
    "mount_gradio_app": None,
    "run_with_ngrok": None,
    "WsgiToAsgi": "asgi",
    "WSGIMiddleware": "asgi",
    "ASGIMiddleware": "wsgi",
    "ASGIApp": "asgi",
    "WSGIApp": "wsgi",
}
"""What takes an application and returns one, by the last part of its name; None keeps the interface. So does every name that
ends with `Middleware`."""

WITH_SERVER = {"dash.Dash": "server", "dash.dash.Dash": "server"}
"""Frameworks whose WSGI application is an attribute of what they make."""

_COMMON = frozenset({"App", "API", "Application", "Eve", "OpenAPI", "default_app"})
"""Names that say nothing without their package."""
WORDS = tuple(
    sorted(
        {
            word
            for name in FRAMEWORKS
            for package, last in [(name.split(".")[0], name.rpartition(".")[2])]
            for word in (
                (f"from {package}".encode(), f"import {package}".encode())
                if last in _COMMON
                else (last.encode(),)
            )
        }
    )
)
"""One of them is in the source of every module that makes an application."""

PLAIN = frozenset(
    {
        "uvicorn.run",
        "waitress.serve",
        "hypercorn.asyncio.serve",
        "bottle.run",
        "werkzeug.serving.run_simple",
        "gevent.pywsgi.WSGIServer",
        "gevent.wsgi.WSGIServer",
        "eventlet.wsgi.server",
        "wsgiref.simple_server.make_server",
        "granian.Granian",
    }
)
"""Calls that start a server for an application among their arguments: another server can do that as well."""

LISTENING = frozenset(
    {
        "http.server.HTTPServer",
        "http.server.ThreadingHTTPServer",
        "http.server.test",
        "socketserver.TCPServer",
        "socketserver.ThreadingTCPServer",
        "socketserver.UDPServer",
        "xmlrpc.server.SimpleXMLRPCServer",
        "wsgiref.simple_server.WSGIServer",
        "aiohttp.web.run_app",
        "aiohttp.web.TCPSite",
        "uvicorn.Server",
        "cherrypy.quickstart",
        "cherrypy.engine.start",
        "tornado.httpserver.HTTPServer",
        "grpc.server",
        "grpc.aio.server",
        "asyncio.start_server",
        "websockets.serve",
        "websockets.server.serve",
        "websockets.asyncio.server.serve",
        "websockets.sync.server.serve",
        "twisted.internet.reactor.listenTCP",
        "rpyc.utils.server.ThreadedServer",
        *PLAIN,
    }
)
"""Calls that make a server which listens."""
LISTENING_METHODS = frozenset({"serve_forever", "run_server", "add_insecure_port", "listenTCP"})
"""Methods, of whatever, that do."""
