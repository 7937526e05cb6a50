import os

from flask import Flask, jsonify

app = Flask(__name__)


@app.route("/save")
def save():
    written = []
    for folder in ("/data", "/srv/cache/models", "/var/state", "uploads"):
        path = os.path.join(folder, "note.txt")
        with open(path, "w") as file:
            file.write("saved")
        written.append(path)
    return jsonify(written)
