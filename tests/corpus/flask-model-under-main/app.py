from flask import Flask, request

app = Flask(__name__)


def load_model():
    global model
    model = lambda x: x * 7


@app.route("/")
def index():
    return str(model(int(request.args.get("x", 6))))


if __name__ == "__main__":
    print("loading the model")
    load_model()
    app.run(port=5001, debug=False)
