import pydantic
import six


def score(text):
    assert pydantic.VERSION
    return sum(map(ord, six.ensure_str(text)))
