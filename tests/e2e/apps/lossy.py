# SPDX-License-Identifier: Apache-2.0
"""Serves and fetches SIZE bytes over a loopback of its own that drops what comes too fast. Run it by
`unshare -n`; --size N. Ends with 77, saying why, where this kernel cannot do that."""
import http.server
import subprocess
import sys
import threading
import urllib.request

size = int(sys.argv[sys.argv.index("--size") + 1])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * size)

    def log_message(self, *args):
        pass


# an Ethernet's packets, a queue of ten of them: what TCP sends as its window grows does not fit
for command in ("ip link set lo mtu 1500 up", "tc qdisc add dev lo root tbf rate 50mbit burst 5kb limit 15000"):
    r = subprocess.run(command.split(), stderr=subprocess.PIPE, text=True, check=False)
    if r.returncode:
        sys.exit(print(f"{command}: {r.stderr.strip()}", file=sys.stderr) or 77)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/lossy", timeout=60) as answer:
    sys.exit(len(answer.read()) != size)
