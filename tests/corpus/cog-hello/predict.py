# Prediction interface for Cog ⚙️
# https://cog.run/python

import os

import humanize
from cog import BasePredictor, Input

WORDS = "/src/words/endings.txt"


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Load the model into memory to make running multiple predictions efficient"""
        self.prefix = os.environ["GREETING"]
        with open(WORDS) as file:
            self.ending = file.read().strip()
        with open("ready.txt", "w") as file:
            file.write("yes")

    def predict(
        self,
        text: str = Input(description="Text to prefix with 'hello '"),
        count: int = Input(description="How many", ge=0, le=10_000_000, default=1000),
    ) -> str:
        """Run a single prediction on the model"""
        return f"{self.prefix} {text} {humanize.intcomma(count)}{self.ending}"
