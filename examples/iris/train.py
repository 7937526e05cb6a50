"""Trains a classifier on Fisher's irises and writes it to model.joblib, beside this file."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

OUTPUT = Path(__file__).with_name("model.joblib")


def main() -> None:
    irises = load_iris()
    model = RandomForestClassifier(n_estimators=50, random_state=0)
    scores = cross_val_score(model, irises.data, irises.target, cv=5)
    print(f"accuracy, cross-validated: {scores.mean():.3f}")
    model.fit(irises.data, irises.target_names[irises.target])
    joblib.dump(model, OUTPUT, compress=3)
    print(f"wrote {OUTPUT.name}, {OUTPUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
