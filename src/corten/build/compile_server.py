"""The compiler's side of `bytecode.py`: run by the interpreter of an image's base in a sandbox, never imported by Corten.

It gets this text with `-c`, must work on a bare Debian `python3.X-minimal`, and imports nothing but what every CPython has
built in or frozen. It opens no file: sources come from standard input, bytecode goes to standard output. First of all it says
which interpreter it is: `implementation version cache_tag`. Then it reads frames and answers each when it has the whole of it:

    form count total LF                   `u` or `c`, the number of files, the bytes that follow the second line
    lengths LF                            for each file those of its path in the image and of its source
    the paths and the sources

    lengths LF                            of each file's pyc, -1 for a source that this Python cannot compile
    the pycs

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


def attempt(form: str, source: bytes, path: str) -> "bytes | None":
    """None for a source that this Python cannot compile (templates, other versions' syntax)."""
    try:
        return pyc(form, source, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def attempt_in_child(form: str, source: bytes, path: str) -> "bytes | None":
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            data = attempt(form, source, path)
            status = 65
            if data is not None:
                with open(writing, "wb") as stream:
                    stream.write(data)
                status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as stream:
        data = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, 65):
        sys.exit(status or 70)
    return data if status == 0 else None


def main() -> None:
    # Syntax trees make garbage by the million objects and no cycles worth finding: a tenth of the time.
    gc.disable()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    version = ".".join(map(str, sys.version_info[:3]))
    stdout.write(f"{sys.implementation.name} {version} {sys.implementation.cache_tag}\n".encode())
    stdout.flush()
    one = attempt_in_child if FORKING else attempt
    while line := stdin.readline():
        form, count, total = line.decode().split()
        lengths = [int(word) for word in stdin.readline().split()]
        data = stdin.read(int(total))
        done = []
        place = 0
        for index in range(int(count)):
            middle = place + lengths[2 * index]
            end = middle + lengths[2 * index + 1]
            done.append(one(form, data[middle:end], os.fsdecode(data[place:middle])))
            place = end
        stdout.write(" ".join(str(-1 if item is None else len(item)) for item in done).encode() + b"\n")
        for item in done:
            if item is not None:
                stdout.write(item)
        stdout.flush()


if __name__ == "__main__":
    main()
