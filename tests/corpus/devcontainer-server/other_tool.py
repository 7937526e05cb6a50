import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[0].encode())


if __name__ == "__main__":
    http.server.HTTPServer(("", int(sys.argv[2])), Handler).serve_forever()
