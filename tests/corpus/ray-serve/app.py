from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=2)
class Translator:
    async def __call__(self, request: Request) -> str:
        return (await request.json())["text"]


translator_app = Translator.bind()
