import litserve as ls


class SimpleLitAPI(ls.LitAPI):
    def setup(self, device):
        self.model1 = lambda x: x**2

    def decode_request(self, request):
        return request["input"]

    def predict(self, x):
        return {"output": self.model1(x)}

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = ls.LitServer(SimpleLitAPI(), accelerator="auto")
    server.run(port=8000)
