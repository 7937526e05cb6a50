import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        text = f"mode {os.environ['MODE']}, database {os.environ.get('DATABASE_URL', 'in memory')}"
        self.wfile.write(text.encode())


HTTPServer(("127.0.0.1", 80), Handler).serve_forever()
