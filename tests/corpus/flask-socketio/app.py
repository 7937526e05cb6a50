from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, cors_allowed_origins="*")


@app.route("/")
def index():
    return "sockets"


@socketio.on("predict")
def predict(data):
    emit("answer", data * 2)


if __name__ == "__main__":
    socketio.run(app, debug=True)
