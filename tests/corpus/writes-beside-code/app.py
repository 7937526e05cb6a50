"""Keeps notes in a SQLite database beside the code, uploads in a folder made at the start, and a log."""

import json
import logging
import os
import pathlib
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer

HERE = pathlib.Path(__file__).parent
os.makedirs("uploads", exist_ok=True)
os.makedirs("logs", exist_ok=True)
logging.basicConfig(filename="logs/app.log", level=logging.INFO)
DATABASE = sqlite3.connect(HERE / "notes.db", check_same_thread=False)
DATABASE.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        logging.info("asked for %s", self.path)
        DATABASE.execute("INSERT INTO notes VALUES (?)", [self.path])
        DATABASE.commit()
        (HERE / "uploads" / "last.txt").write_text(self.path)
        (HERE / "data" / "counts.csv").open("a").write("1\n")
        for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "HF_HOME", "XDG_CACHE_HOME"):
            pathlib.Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
            (pathlib.Path(os.environ[name]) / "probe").touch()
        body = json.dumps({"notes": DATABASE.execute("SELECT count(*) FROM notes").fetchone()[0]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    HTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
