import cv2
import numpy as np


def predict(n: int) -> int:
    image = np.zeros((n, n), np.uint8)
    cv2.circle(image, (n // 2, n // 2), 2, 255, -1)
    return int(cv2.countNonZero(image))
