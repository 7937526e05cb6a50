"""How hard a text is to read: a page with a form, and the same as JSON."""

import re

from flask import Flask, jsonify, render_template, request

app = Flask(__name__)


def syllables(word: str) -> int:
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    return max(1, groups - word.lower().endswith("e"))


def reading_ease(text: str) -> float:
    """Flesch's reading ease: 100 is very easy, 0 very hard."""
    words = re.findall(r"[A-Za-z']+", text)
    sentences = max(1, len(re.findall(r"[.!?]+", text)))
    if not words:
        return 0.0
    per_word = sum(map(syllables, words)) / len(words)
    return round(206.835 - 1.015 * len(words) / sentences - 84.6 * per_word, 1)


@app.route("/", methods=["GET", "POST"])
def page():
    text = request.form.get("text", "")
    return render_template("page.html", text=text, score=reading_ease(text) if text else None)


@app.post("/score")
def score():
    text = request.get_json(force=True).get("text", "")
    return jsonify(score=reading_ease(text), words=len(text.split()))


@app.get("/healthz")
def health():
    return "ok"


if __name__ == "__main__":
    app.run(debug=True)
