"""Lines of requirements files that are put right, and those that stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.repairs import Repairs, form_of, notes

FORGE = "file:///home/conda/feedstock_root/build_artifacts"
MAC = "file:///private/var/folders/nz/j6p8yfhx1mv_0grj5xl4650h0000gp/T/abs_ac7zic_tin/croot"


def read(line: str, text: str = "", above: int | None = 0, **options: object) -> tuple[str, ...] | None:
    """The lines in the place of `line`; None where it stays."""
    found = Repairs(lambda: ["My_Project"], lambda extras: ["alpha", *extras]).of(text or line, above)(line)
    return None if found is None else found.lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pycodestyle @ file:///croot/pycodestyle_1674267221883/work", "pycodestyle"),
        ("certifi @ file:///croot/certifi_1671487769961/work/certifi", "certifi"),
        (f"tqdm @ {FORGE}/tqdm_1594937875116/work", "tqdm"),
        (f"tqdm @ {MAC}/tqdm_1679561870178/work", "tqdm"),
        ("joblib @ file:///tmp/build/80754af9/joblib_1613502643832/work", "joblib"),
        ("kiwisolver @ file:///D:/bld/kiwisolver_1610099971815/work", "kiwisolver"),
        ("anyio @ file:///D:/bld/anyio_1652464130670/work/dist", "anyio"),
        ("numpy @ file:///C:/ci/numpy_and_numpy_base_1603480701039/work", "numpy"),
        ("matplotlib @ file:///D:/bld/matplotlib-suite_1611858808344/work", "matplotlib"),
        ("ipykernel @ file:///C:/ci/ipykernel_1607454116140/work/dist/ipykernel-5.3.4-py3-none-any.whl", "ipykernel==5.3.4"),
        ("plotly @ file:///opt/conda/conda-bld/plotly_1698259245963/work/packages/python/plotly/dist/plotly-5.18.0.tar.gz", "plotly==5.18.0"),
        ("hijri-converter @", "hijri-converter"),
        ("imblearn==0.0", "imbalanced-learn"),
        ("sklearn", "scikit-learn"),
        ("sklearn==0.0", "scikit-learn"),
        ("sklearn==0.0.post1", "scikit-learn"),
        ("sklearn>=1.0", "scikit-learn>=1.0"),
        ("cv2", "opencv-python-headless"),
        ("opencv==4.5.1", "opencv-python-headless==4.5.1.*"),
        ("PIL", "pillow"),
        ("tensorflow-gpu==2.15.0", "tensorflow==2.15.0"),
        ("tensorflow_macos==2.9.2", "tensorflow==2.9.2"),
        ("numpy=1.19.2", "numpy==1.19.2"),
        ("numpy=1.19.2=py38h54aff64_0", "numpy==1.19.2"),
        ("flask=2.2.2=pyhd8ed1ab_0", "flask==2.2.2"),
        ("absl-py=0.15.0=pypi_0", "absl-py==0.15.0"),
        ("pytorch=1.12.1=py3.9_cuda11.3_cudnn8.2.0_0", "torch==1.12.1"),
        ("tensorflow=2.3.0=mkl_py38h8557ec7_0", "tensorflow==2.3.0"),
        ("flask => 1.0", "flask>=1.0"),
        ("flask 2.0.1", "flask==2.0.1"),
        ("'flask==2.0.1',", "flask==2.0.1"),
        ("pip install flask", "flask"),
        ("!pip install -q flask==2.0", "flask==2.0"),
    ],
)  # fmt: skip
def test_a_line_is_read_as_it_is_meant(line: str, expected: str) -> None:
    assert read(line) == (expected,)


@pytest.mark.parametrize(
    "line",
    [
        *("os", "json", "datetime==4.3", "typing==3.7.4", "enum34", "dataclasses==0.8", "asyncio==3.4.3", "pickle"),
        *("pywin32==303", "pywinpty", "pyobjc-framework-Cocoa==9.0", "appnope @ file:///croot/appnope_1606859466979/work", "twisted-iocpsupport==1.0.2"),
        *("tk==8.6.11", "python==3.9", "python=3.9.18=h1aa4202_0", "openssl==1.1.1k", "vc=14.2=h21ff451_1", "_libgcc_mutex=0.1=main", "zlib=1.2.13=h8cc25b3_0"),
        *("cat > requirements.txt << 'EOF'", "EOF", "mkl-random @ file:///C:/ci_310/mkl_random_1643050563308/work"),
        *("pkg_resources==0.0.0", "pkg-resources==0.0.0", "google-colab @ file:///croot/google-colab_1606859466979/work"),
    ],
)  # fmt: skip
def test_a_line_is_left_out(line: str) -> None:
    assert read(line) == ()


@pytest.mark.parametrize(
    "line",
    [
        *("numpy", "numpy==1.19.2", "numpy>=1,<2", "numpy == 1.19.*", "uvicorn[standard]==0.20", "colorama", "pip==21.0", "setuptools"),
        *("DateTime==5.0", "configparser", "mkl==2021.4.0", "pickle5", "importlib-metadata", "typing_extensions"),
        # Whatever says more than a name and a version is not touched.
        *("pywin32==303 ; sys_platform == 'win32'", "sklearn --hash=sha256:" + "0" * 64, "os @ https://h/os-1-py3-none-any.whl"),
        *("mine @ file:///home/me/mine", "mine @ file:///croot/mine/work", "mine @ file:///srv/mine_1674267221883", "mine @ https://h/x_1674267221883/work"),
        *("-e ./evil", "-e ../other", "-e git+https://h/other.git#egg=other", "./evil", "-r os", "--index-url https://h", "pip install -r x.txt"),
        *("pip install --index-url https://h flask", "pip install flask ; rm", "git+https://h/sklearn.git", "sklearn.zip"),
    ],
)  # fmt: skip
def test_a_line_stays_as_it_is(line: str) -> None:
    assert read(line) is None


def test_tensorflow_for_another_system_gives_way_to_tensorflow() -> None:
    assert read("tensorflow-intel==2.13.0", "tensorflow==2.13.0\ntensorflow-intel==2.13.0") == ()
    assert read("tensorflow-macos==2.9.2", "tensorflow==2.9.1\ntensorflow-macos==2.9.2") == ()
    assert read("tensorflow-intel==2.13.0") == ("tensorflow==2.13.0",)


@pytest.mark.parametrize(
    ("line", "above", "expected"),
    [
        ("-e .", 0, ("alpha",)),
        (".", 0, ("alpha",)),
        ("-e ./", 0, ("alpha",)),
        ("--editable .[gpu, x]", 0, ("alpha", "gpu", "x")),
        ("-e ..", 1, ("alpha",)),
        ("-e ..", 0, None),
        ("-e .", 1, None),
        ("-e .", None, None),
        ("-e git+https://github.com/me/my-project.git@0a1b#egg=my_project", 0, ("alpha",)),
    ],
)
def test_the_project_itself(line: str, above: int | None, expected: tuple[str, ...] | None) -> None:
    assert read(line, above=above) == expected


def test_where_what_the_project_requires_cannot_be_read_it_is_said() -> None:
    repair = Repairs(itself=lambda extras: None).of("-e .", 0)
    found = repair("-e .")
    assert found is not None
    assert notes("r.txt", [found]) == (
        "'-e .' in 'r.txt' is the project itself, whose own requirements are computed and not read: its code is in the image",
    )


PIP = """\
Package            Version    Editable project location
------------------ ---------- -------------------------
Flask              2.0.1
numpy              1.21.2
pywin32            303
my-project         0.1        C:\\work
"""
CONDA = """\
# packages in environment at C:\\miniconda3:
#
# Name                    Version                   Build  Channel
blas                      1.0                         mkl
flask                     2.2.2              pyhd8ed1ab_0    conda-forge
numpy                     1.21.5           py39h7a0a035_3
openai                    0.27.0                   pypi_0    pypi
python                    3.9.12               h6244533_0
"""
EXPORT = """\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
# platform: win-64
ca-certificates=2022.4.26=haa95532_0
flask=2.0.3=pyhd3eb1b0_0
scikit-learn=1.0.2=py39hf11a4ad_1
"""


@pytest.mark.parametrize(
    ("text", "form", "expected", "said"),
    [
        (PIP, "pip-list", ["Flask==2.0.1", "numpy==1.21.2"], "is read as a list that pip prints"),
        (CONDA, "conda-list", ["flask==2.2.2", "numpy==1.21.5", "openai==0.27.0"], "is read as a list that conda prints"),
        (EXPORT, "conda-export", ["flask==2.0.3", "scikit-learn==1.0.2"], "is read as a list that conda prints"),
    ],
)  # fmt: skip
def test_lists_that_tools_print(text: str, form: str, expected: list[str], said: str) -> None:
    assert form_of(text) == form
    repair = Repairs(lambda: ["my-project"]).of(text)
    found = [item for line in text.splitlines() if not line.startswith("#") and (item := repair(line))]
    assert [line for item in found for line in item.lines] == expected
    assert f"'requirements.txt' {said}" in notes("requirements.txt", found)


def test_what_is_said_is_one_line_for_each_reason() -> None:
    lines = [
        "os",
        "json",
        "sklearn==0.0",
        "pywin32==1",
        *(f"a{n} @ file:///croot/a{n}_1674267221883/work" for n in range(8)),
    ]
    repair = Repairs().of("\n".join(lines))
    assert notes("r.txt", [item for line in lines if (item := repair(line))]) == (
        "left out of 'r.txt': 'os', 'json', which are part of Python",
        "'sklearn' in 'r.txt' is read as 'scikit-learn'",
        "left out of 'r.txt': 'pywin32', which is for Windows or macOS alone",
        "'r.txt' has paths of conda's builders, which are nowhere else: taken by name are "
        "'a0', 'a1', 'a2', 'a3', 'a4', 'a5' and 2 more",
    )


@given(st.text(max_size=60) | st.lists(st.sampled_from(["a", "=", "==", "1.0", " ", ",", "!", "*", "@", "file:///", "_1674267221883", "/work", "'", ".", "-e ", "#egg=", "pip install "])).map("".join))  # fmt: skip
def test_any_line_is_looked_at_without_failing(line: str) -> None:
    for text in (line, PIP, CONDA, EXPORT):
        read(line, text)


@pytest.mark.parametrize("line", ["a" + "=1 " * 160 + "@", "a=" + "!" * 400 + "@", "a @ file:///" + "b_123456789012/work" * 25 + "#", "a " * 240])  # fmt: skip
def test_a_line_made_to_be_slow_is_not(line: str) -> None:
    for text in (line, PIP, CONDA):
        read(line, text)


def test_a_very_long_line_stays() -> None:
    assert read("sklearn" + " " * 600 + "==1.0") is None


def test_what_conda_built_has_its_day_and_its_numpys_parts_are_left_out() -> None:
    text = "mkl-fft==1.3.1\nnumpy @ file:///C:/b/abs_x/croot/numpy_and_numpy_base_1672336199388/work\nscipy==1.10.0\n"
    repair = Repairs().of(text)
    found = repair("numpy @ file:///C:/b/abs_x/croot/numpy_and_numpy_base_1672336199388/work")
    assert found is not None
    assert (found.lines, found.day) == (("numpy",), "2022-12-29")
    left_out = repair("mkl-fft==1.3.1")
    assert left_out is not None
    assert left_out.gone
    assert Repairs().of("mkl-fft==1.3.8")("mkl-fft==1.3.8") is None
