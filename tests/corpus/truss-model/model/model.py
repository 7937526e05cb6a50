class Model:
    def __init__(self, **kwargs):
        self._model = None

    def load(self):
        self._model = lambda text: {"label": "POSITIVE"}

    def predict(self, model_input):
        return self._model(model_input)
