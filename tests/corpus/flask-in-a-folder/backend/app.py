import json

from flask import Flask, jsonify, request

from utils import scale

app = Flask(__name__)
model = json.load(open("model/weights.json"))


@app.route("/predict", methods=["POST"])
def predict():
    value = float(request.form["x"])
    return jsonify(y=scale(value) * model["w"])


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=5000, debug=True)
