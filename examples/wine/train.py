"""Trains a classifier on chemical analyses of wines and writes it to wine.joblib, beside this file."""

from pathlib import Path

import joblib
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

COLUMNS = ["alcohol", "flavanoids", "color_intensity", "proline"]
OUTPUT = Path(__file__).with_name("wine.joblib")


def main() -> None:
    wines = load_wine(as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    # The names of the frame's columns become the fields of a request, the labels those of an answer.
    model.fit(wines.data[COLUMNS], wines.target.map({0: "barolo", 1: "grignolino", 2: "barbera"}))
    joblib.dump(model, OUTPUT)
    print(f"wrote {OUTPUT.name}, {OUTPUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
