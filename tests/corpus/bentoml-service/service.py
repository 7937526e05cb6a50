import bentoml


@bentoml.service(resources={"cpu": "1"}, traffic={"timeout": 10})
class Summarization:
    def __init__(self) -> None:
        self.words = 3

    @bentoml.api
    def summarize(self, text: str) -> str:
        return " ".join(text.split()[: self.words])
