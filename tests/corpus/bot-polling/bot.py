import os
import time


class Bot:
    """Stands in for a client of a chat service: it asks for updates until it is ended."""

    def __init__(self, token: str) -> None:
        self.token = token

    def updates(self) -> list[str]:
        return []


def main() -> None:
    bot = Bot(os.environ.get("BOT_TOKEN", ""))
    print("bot is up", flush=True)
    while True:
        for update in bot.updates():
            print(update)
        time.sleep(1)


if __name__ == "__main__":
    main()
