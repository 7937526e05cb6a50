import tempfile

from cog import BaseRunner, Input, Path
from PIL import Image


class Runner(BaseRunner):
    def run(self, image: Path = Input(description="Input image"), size: int = Input(default=2, choices=[1, 2, 4])) -> Path:
        picture = Image.open(image).resize((size, size))
        place = Path(tempfile.mkdtemp()) / "out.png"
        picture.save(place)
        return place
