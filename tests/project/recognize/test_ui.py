"""Applications of UI frameworks, as people write them: the command, the variables, and what is asked until they are ready."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.kinds import split_command
from corten.project.load import load
from corten.project.model import Command, Project

Make = Callable[[dict[str, str]], Path]
ST = "import streamlit as st\nst.title('x')\n"
RUN = "streamlit run {} --server.port $PORT"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def command(project: Project) -> str:
    return " ".join(project.entry.argv) if isinstance(project.entry, Command) else ""


SHAPES: dict[str, tuple[dict[str, str], str]] = {
    "any name": ({"churn_dashboard.py": ST}, RUN.format("churn_dashboard.py")),
    "beside pages": (
        {"1_Welcome.py": ST, "pages/app.py": ST, "pages/main.py": ST, "train.py": "import numpy\n"},
        RUN.format("1_Welcome.py"),
    ),
    "a usual name of several": ({"app.py": ST, "old_version.py": ST, "plots.py": ST}, RUN.format("app.py")),
    "pages that the entry names": (
        {
            "main.py": "import streamlit as st\nst.navigation([st.Page('views/app.py'), st.Page('views/home.py')]).run()\n",
            "views/app.py": ST,
            "views/home.py": ST,
        },
        RUN.format("main.py"),
    ),
    "helpers are no entry": (
        {
            "app.py": "import streamlit as st\nimport helpers\nhelpers.show()\n",
            "helpers.py": "import streamlit as st\ndef show():\n    st.write('x')\n",
        },
        RUN.format("app.py"),
    ),
    "an entry without the framework": (
        {"app.py": "from ui.start import main\nmain()\n", "ui/start.py": "import streamlit as st\ndef main():\n    st.write(1)\n"},
        RUN.format("app.py"),
    ),
    "a class": (
        {"dash.py": "import streamlit as st\nclass App:\n    def run(self):\n        st.write(1)\nApp().run()\n"},
        RUN.format("dash.py"),
    ),
    "under main": (
        {"tool.py": "import streamlit as st\ndef main():\n    st.write(1)\nif __name__ == '__main__':\n    main()\n"},
        RUN.format("tool.py"),
    ),
    "gradio with a queue": (
        {"app.py": "import gradio as gr\nwith gr.Blocks() as demo:\n    gr.Textbox()\ndemo.queue().launch(share=True)\n"},
        "python app.py",
    ),
    "gradio in a function": (
        {"web.py": "import gradio\ndef main():\n    ui = gradio.ChatInterface(print)\n    ui.launch()\nmain()\n"},
        "python web.py",
    ),
    "gradio that nobody launches": (
        {"app.py": "import gradio as gr\ndemo = gr.Interface(print, 'text', 'text')\n"},
        "python -c from app import demo; demo.launch()",
    ),
    "gradio launched elsewhere": (
        {"ui.py": "import gradio as gr\ndemo = gr.Blocks()\n", "main.py": "from ui import demo\ndemo.launch()\n"},
        "python main.py",
    ),
    "gradio within FastAPI": (
        {
            "app.py": "import gradio as gr\nfrom fastapi import FastAPI\napp = FastAPI()\n"
            "app = gr.mount_gradio_app(app, gr.Blocks(), path='/ui')\n"
        },
        "uvicorn --host 0.0.0.0 --port $PORT app:app",
    ),
    "chainlit": (
        {"chat.py": "import chainlit as cl\n@cl.on_message\nasync def main(message):\n    pass\n"},
        "chainlit run chat.py --host 0.0.0.0 --port $PORT --headless",
    ),
    "panel": (
        {"dashboard.py": "import panel as pn\npn.Row('x').servable()\n"},
        "panel serve dashboard.py --address 0.0.0.0 --port $PORT --allow-websocket-origin *",
    ),
    "panel that serves itself": ({"a.py": "import panel as pn\npn.serve(pn.Row('x'), port=5006)\n"}, "python a.py"),
    "bokeh": (
        {"main.py": "from bokeh.io import curdoc\ncurdoc().add_root(1)\n"},
        "bokeh serve main.py --address 0.0.0.0 --port $PORT --allow-websocket-origin *",
    ),
    "shiny": (
        {"app.py": "from shiny import App, ui\napp_ui = ui.page_fluid()\napp = App(app_ui, None)\n"},
        "shiny run --host 0.0.0.0 --port $PORT app.py",
    ),
    "shiny express": (
        {"app.py": "from shiny.express import input, ui\nui.input_text('x', 'y')\n"},
        "shiny run --host 0.0.0.0 --port $PORT app.py",
    ),
    "nicegui": (
        {"main.py": "from nicegui import ui\nui.label('x')\nif __name__ in {'__main__', '__mp_main__'}:\n    ui.run()\n"},
        "python main.py",
    ),
    "solara": (
        {"page.py": "import solara\n@solara.component\ndef Page():\n    solara.Text('x')\n"},
        "solara run page.py --host 0.0.0.0 --port $PORT --no-open",
    ),
    "marimo": (
        {"notebook.py": "import marimo\napp = marimo.App()\n@app.cell\ndef _():\n    return\n"},
        "marimo run notebook.py --host 0.0.0.0 --port $PORT --headless",
    ),
    "flet": ({"main.py": "import flet as ft\ndef main(page):\n    pass\nft.app(target=main)\n"}, "python main.py"),
    "taipy": ({"main.py": "from taipy.gui import Gui\nGui(page='# x').run()\n"}, "python main.py"),
    "mesop": (
        {"main.py": "import mesop as me\n@me.page(path='/')\ndef page():\n    me.text('x')\n"},
        "mesop main.py --port $PORT",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "wanted"), SHAPES.values(), ids=SHAPES)
def test_an_application_gets_its_command(make: Make, files: dict[str, str], wanted: str) -> None:
    found = load(make(files))
    assert command(found) == wanted
    assert found.kind in ("ui", "web")


def test_the_framework_is_added_where_it_is_not_listed(make: Make) -> None:
    found = load(make({"app.py": ST, "requirements.txt": "pandas\n"}))
    assert [item.requirement for item in found.implied] == ["streamlit"]
    assert found.implied[0].reason == "Streamlit is not among the dependencies"


def test_an_application_in_a_folder_runs_where_its_files_are(make: Make) -> None:
    found = load(
        make(
            {
                "app/main.py": ST + "open('data/x.csv')\n",
                "app/data/x.csv": "",
                "requirements.txt": "streamlit\n",
            }
        )
    )
    assert (command(found), found.workdir) == (RUN.format("main.py"), "/app/app")


@pytest.mark.parametrize("line", ["streamlit run app.py", "sh setup.sh && streamlit run app.py"])
def test_a_command_from_a_procfile_gets_the_variables(make: Make, line: str) -> None:
    found = load(make({"app.py": ST, "setup.sh": "mkdir -p ~/.streamlit\n", "Procfile": f"web: {line}\n"}))
    assert found.kind == "ui"
    assert found.env["STREAMLIT_SERVER_HEADLESS"] == "true"
    assert found.ready is not None


def test_a_web_application_that_uses_gradio_elsewhere_keeps_its_own_variables(make: Make) -> None:
    found = load(make({"app.py": "from flask import Flask\nimport gradio\napp = Flask('x')\n"}))
    assert (found.kind, found.env, found.ready) == ("web", {}, None)


def test_two_applications_are_listed(make: Make) -> None:
    with pytest.raises(ProjectError, match=r"the project has 2 ") as raised:
        load(make({"app.py": ST, "main.py": ST}))
    assert "streamlit run app.py" in str(raised.value.hint)


def test_many_applications_are_listed_with_commands_that_can_be_written(make: Make) -> None:
    with pytest.raises(ProjectError, match=r"the project has 9 ") as raised:
        load(make({f"My page {name}.py": ST for name in "abcdefghi"}))
    assert str(raised.value).count(" in 'My page") == 6
    hint = str(raised.value.hint)
    assert """command = "streamlit run 'My page a.py' --server.port $PORT\"""" in hint
    line = tomllib.loads(hint.partition(": ")[2].partition("  or  ")[0])
    assert split_command("command", line["command"])[2] == "My page a.py"
