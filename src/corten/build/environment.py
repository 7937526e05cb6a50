"""Where an image has a virtual environment (PEP 405), and where in it a wheel's files go."""

from __future__ import annotations

from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Environment:
    """Where in an image wheels go: a virtual environment at `prefix` (`/opt/venv`) for `python` (`3.11`)."""

    prefix: str
    python: str

    @property
    def site_packages(self) -> str:
        """Where modules go."""
        return f"{self.prefix}/lib/python{self.python}/site-packages"

    @property
    def interpreter(self) -> str:
        """The environment's Python, as written into scripts."""
        return f"{self.prefix}/bin/python"

    def schemes(self, distribution: str) -> dict[str, str]:
        """The directories of a wheel's schemes (sysconfig's `venv` scheme)."""
        return {
            "purelib": self.site_packages,
            "platlib": self.site_packages,
            "headers": f"{self.prefix}/include/site/python{self.python}/{distribution}",
            "scripts": f"{self.prefix}/bin",
            "data": self.prefix,
        }
