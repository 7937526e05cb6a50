from flask import Flask, jsonify, request

from reading import minutes

try:
    import ujson
except ImportError:
    ujson = None

app = Flask(__name__)


@app.route("/")
def home():
    return jsonify(minutes=minutes(request.args.get("text", "a b c")))
