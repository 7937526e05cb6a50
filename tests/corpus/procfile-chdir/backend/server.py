from flask import Flask, jsonify, request

from scoring import score

application = Flask(__name__)


@application.route("/score", methods=["POST"])
def scored():
    return jsonify(score=score(request.get_json()["values"]))
