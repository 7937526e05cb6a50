from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route("/")
def home():
    return "<h1>Iris</h1>"


@app.route("/predict", methods=["POST"])
def predict():
    features = request.get_json()["features"]
    return jsonify(prediction=sum(features))


if __name__ == "__main__":
    app.run(debug=True)
