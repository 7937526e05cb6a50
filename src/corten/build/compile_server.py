"""The compiler's side of `bytecode.py`: run by the interpreter of an image's base, never imported by Corten.

It must work on a bare Debian `python3.X-minimal` and imports nothing but what every CPython has built in or frozen.
Reads one request a line from standard input, `form TAB count`, followed by `count` pairs of lines: the file on this disk,
and its path in the image. Writes `__pycache__` files beside the sources and answers one line: `compiled TAB failed`, or `!errno` when the disk refuses.
First of all it says which interpreter it is: `implementation version cache_tag`.

The pyc is a pure function of (compiler, source, path in the image): PEP 552's hash-based form, `u` unchecked or `c`
checked, the hash seed fixed by the caller, and a marshal form that does not depend on what was compiled before. Marshal
version 2 shares no objects, so reference counts leave no mark on it; from Python 3.14 on version 2 cannot hold every
constant, and each file is compiled in a freshly forked child instead.
"""

import _frozen_importlib_external
import _imp
import gc
import marshal
import os
import sys

MAGIC: bytes = _frozen_importlib_external.MAGIC_NUMBER
RAW_MAGIC = int.from_bytes(MAGIC, "little")
FORKING = sys.version_info >= (3, 14)
MARSHAL_VERSION = marshal.version if FORKING else 2
FLAGS = {"u": 0b01, "c": 0b11}


def pyc(form: str, source: bytes, path: str) -> bytes:
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    head = MAGIC + FLAGS[form].to_bytes(4, "little") + _imp.source_hash(RAW_MAGIC, source)
    return head + marshal.dumps(code, MARSHAL_VERSION)


def write(form: str, file: str, path: str) -> None:
    with open(file, "rb", buffering=0) as stream:
        source = stream.read()
    data = pyc(form, source, path)
    directory, name = file.rsplit("/", 1)
    cache = directory + "/__pycache__"
    target = cache + "/" + name[:-3] + "." + sys.implementation.cache_tag + ".pyc"
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except FileNotFoundError:
        # Another server may compile the rest of this directory, and be faster.
        os.makedirs(cache, 0o755, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with open(descriptor, "wb", buffering=0) as stream:
        view = memoryview(data)
        while view:
            view = view[stream.write(view) :]


def attempt(form: str, file: str, path: str) -> bool:
    """True when compiled; False for a source that this Python cannot compile (templates, other versions' syntax)."""
    try:
        write(form, file, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    except (NotADirectoryError, IsADirectoryError):
        return False  # the wheel has something else where bytecode would lie
    return True


def attempt_in_child(form: str, file: str, path: str) -> bool:
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = 0 if attempt(form, file, path) else 65
        except OSError as error:
            status = 128 + (error.errno or 0) % 100
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status >= 128:
        raise OSError(status - 128, os.strerror(status - 128))
    if status not in (0, 65):
        sys.exit(status or 70)
    return status == 0


def main() -> None:
    # Syntax trees make garbage by the million objects and no cycles worth finding: a tenth of the time.
    gc.disable()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    version = ".".join(map(str, sys.version_info[:3]))
    stdout.write(f"{sys.implementation.name} {version} {sys.implementation.cache_tag}\n".encode())
    stdout.flush()
    one = attempt_in_child if FORKING else attempt
    while line := stdin.readline():
        form, count = line.decode().split("\t")
        compiled = failed = 0
        for _ in range(int(count)):
            file = os.fsdecode(stdin.readline()[:-1])
            path = os.fsdecode(stdin.readline()[:-1])
            try:
                if one(form, file, path):
                    compiled += 1
                else:
                    failed += 1
            except OSError as error:
                stdout.write(b"!%d\n" % (error.errno or 0))
                stdout.flush()
                return
        stdout.write(b"%d\t%d\n" % (compiled, failed))
        stdout.flush()


if __name__ == "__main__":
    main()
