import re

import dateutil.parser
import yaml

WORDS_PER_MINUTE = yaml.safe_load("words: 3")["words"]


def minutes(text):
    assert dateutil.parser.parse("2024-01-02").day == 2
    return len(re.findall(r"\w+", text)) / WORDS_PER_MINUTE
