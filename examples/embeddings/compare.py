"""Asks a running server how alike sentences are: python compare.py "a sentence" "another" "a third" …"""

import json
import os
import sys
import urllib.request

URL = os.environ.get("URL", "http://localhost:8000/predict")


def main() -> None:
    sentences = sys.argv[1:]
    request = urllib.request.Request(
        URL, json.dumps({"sentences": sentences}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        first, *others = json.load(response)
    for sentence, vector in zip(sentences[1:], others, strict=True):
        alike = sum(a * b for a, b in zip(first, vector, strict=True))
        print(f"{alike:5.2f}  {sentence}")


if __name__ == "__main__":
    main()
