"""What a script does when it is run, as far as its source says: the calls that are reached, by their full names."""

from __future__ import annotations

import ast

from corten.project import syntax
from corten.project.recognize.trees import FUNCTIONS, calls, imported, run_by
from corten.project.syntax import Module


class Script:
    """One module as a script. `imports` are the names that it imports and what they stand for."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.imports, self.stars = imported(module)
        self._functions = {node.name: node for node in module.tree.body if isinstance(node, FUNCTIONS)}
        self.statements = [node for _, node in run_by(module.tree.body, self._functions)]
        self.calls = [call for node in self.statements for call in calls(node)]
        """The calls that running the file reaches, without those in methods of its classes."""

    @property
    def modules(self) -> set[str]:
        """The top-level modules that it imports, anywhere."""
        found = {name.split(".")[0] for name in (*self.imports.values(), *self.stars)}
        return found - {""}

    def full(self, node: ast.expr) -> str:
        """`streamlit.title` for `st.title`; empty for what is no dotted name."""
        name = syntax.dotted(node)
        if name is None:
            return ""
        first, _, rest = name.partition(".")
        known = self.imports.get(first, first)
        return f"{known}.{rest}" if rest else known

    @property
    def names(self) -> set[str]:
        """The full names of `calls`."""
        return {name for call in self.calls if (name := self.full(call.func))}

    @property
    def everywhere(self) -> list[ast.Call]:
        """All calls of the module, also those in functions and methods that nothing here calls."""
        return [node for node in syntax.nodes(self.module.tree) if isinstance(node, ast.Call)]

    @property
    def starts_something(self) -> bool:
        """Whether running the file calls anything for its effect: `main()`, `App().run()`."""
        return any(
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
            for node in self.statements
        )


def method_of(call: ast.Call) -> str:
    """The last part of what is called: `launch` for `demo.queue().launch()`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""
