import sys

from setuptools import setup

sys.exit("setup.py was run")

setup(name="settings", version="0.1", py_modules=["server"], install_requires=["iniconfig==2.0.0"])
