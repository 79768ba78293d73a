"""Receive webhooks of Freshet: verify, do each message once, answer at once.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_... python receive_webhook.py --port 9000

Any library of https://www.standardwebhooks.com does the same in other languages.
"""

import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SECRETS = [Webhook(secret) for secret in os.environ["WEBHOOK_SECRET"].split()]  # while rotating there are two
seen: set[str] = set()  # in earnest: a table with a unique column, in the transaction that does the work


def verified(body: bytes, headers: dict[str, str]) -> dict:
    """The message, if one of our secrets signed these very bytes, not long ago."""
    for secret in SECRETS:
        try:
            return secret.verify(body, headers)
        except WebhookVerificationError as wrong:
            why = wrong
    raise why


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))  # the raw bytes: what was signed
        try:
            message = verified(body, dict(self.headers))
        except (WebhookVerificationError, ValueError):
            self.answer(400)
            return
        message_id = self.headers["webhook-id"]
        if message_id not in seen:  # the same message may come twice; its id is the same
            seen.add(message_id)
            self.take(message)
        self.answer(204)

    def take(self, message: dict) -> None:
        data = message["data"]
        if message["type"] == "answer" and data["answer"] is not None:
            print(f"{data['job_id']}: {data['answer']['text']}", flush=True)
        else:  # no answer, one too large to be sent along, a ping
            print(f"{message['type']}: {data}", flush=True)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9000)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Hook).serve_forever()
