"""Serves the classifier that train.py has written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import joblib

Species = Literal["setosa", "versicolor", "virginica"]


@dataclass
class Answer:
    species: Species
    probability: float


class Iris:
    def setup(self) -> None:
        self.model = joblib.load(Path(__file__).with_name("model.joblib"))

    def predict(
        self, sepal_length: float, sepal_width: float, petal_length: float, petal_width: float
    ) -> Answer:
        """The species of an iris, from four lengths of its flower in centimetres."""
        probabilities = self.model.predict_proba([[sepal_length, sepal_width, petal_length, petal_width]])[0]
        best = int(probabilities.argmax())
        return Answer(str(self.model.classes_[best]), round(float(probabilities[best]), 3))
