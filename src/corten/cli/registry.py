"""`corten registry`: a registry on this machine, and its garbage collection."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

from corten.cli.context import Context
from corten.cli.terminal import size_text
from corten.errors import UsageError

EXAMPLES = """\
examples:
  corten registry                                     on 127.0.0.1:5000, for this machine
  corten registry --port 5001 --root ./images -v      images in ./images; a line for each request
  corten registry --root /media/images --read-only    what somebody else has filled
  corten registry --host 0.0.0.0 --htpasswd users --tls-cert cert.pem --tls-key key.pem
  corten registry --garbage-collect                   free what no tag leads to

Ctrl-C ends it. It is for one machine or a small team; beyond that use Distribution, Harbor or a cloud's registry."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "--port", type=_port, default=5000, help="the port to listen on; 0 picks one (default: 5000)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where its contents lie (default: in Corten's store)"
    )
    parser.add_argument(
        "--htpasswd",
        type=Path,
        metavar="FILE",
        help="users and bcrypt passwords, as 'htpasswd -B' writes them",
    )
    parser.add_argument("--read-only", action="store_true", help="refuse every push and deletion")
    parser.add_argument(
        "--allow-sparse",
        action="store_true",
        help="take manifests whose blobs or platforms are not all there, as for mirrors of one platform",
    )
    parser.add_argument(
        "--allow-anyone", action="store_true", help="let other machines push and pull without a password"
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="serve https with this certificate (PEM)"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key (PEM)")
    parser.add_argument(
        "--garbage-collect",
        action="store_true",
        help="free what no tag leads to and nobody has asked for within the hour, and end",
    )
    parser.add_argument("--json", action="store_true", help="with --garbage-collect: print one JSON document")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port")
    return int(text)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Serve until a signal comes, or collect garbage."""
    root = (arguments.root or context.store.root / "registry").absolute()
    if arguments.garbage_collect:
        return _collect(root, arguments.json, context)
    return _serve(root, arguments, context)


def _collect(root: Path, as_json: bool, context: Context) -> int:
    from corten.registry.server.collection import collect
    from corten.registry.server.contents import Contents

    done = collect(Contents(root))
    if as_json:
        document = {
            "manifests": done.manifests,
            "blobs": done.blobs,
            "uploads": done.uploads,
            "bytes": done.bytes,
        }
        context.terminal.print(json.dumps(document))
    else:
        context.terminal.say(
            f"removed {done.manifests} manifests, {done.blobs} blobs, {done.uploads} abandoned uploads: "
            f"{size_text(done.bytes)}"
        )
    return 0


def _serve(root: Path, arguments: argparse.Namespace, context: Context) -> int:
    from corten.registry.server.passwords import Passwords
    from corten.registry.server.server import Server, Settings, listening

    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if arguments.json:
        raise UsageError("--json goes with --garbage-collect")
    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        passwords=Passwords.read(arguments.htpasswd) if arguments.htpasswd else None,
        read_only=arguments.read_only,
        anyone=arguments.allow_anyone,
        sparse=arguments.allow_sparse,
        tls=(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None,
    )

    def stop_at_signal(server: Server) -> None:
        def received(number: int, frame: object) -> None:
            server.stop()
            # Whoever asks twice does not want to wait.
            signal.signal(number, signal.SIG_DFL)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # 'nohup' and a shell's '&' have some of them ignored, and mean it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, received)

    with listening(root, settings, context.observe) as server:
        stop_at_signal(server)
        scheme = "https" if settings.tls else "http"
        context.terminal.print(f"{scheme}://{server.address}")
        verb = "pull" if settings.read_only else "push"
        context.terminal.say(f"serving '{root}'; for example: corten {verb} {_example(verb, server.address)}")
        server.run()
    return 0


def _example(verb: str, address: str) -> str:
    reference = f"{address}/team/iris"
    return f"iris {reference}" if verb == "push" else reference
