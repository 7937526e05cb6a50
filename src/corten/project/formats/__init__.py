"""Files with dependencies that other tools write, as lines of requirements files."""
