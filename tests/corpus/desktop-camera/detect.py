import cv2

camera = cv2.VideoCapture(0)
while True:
    ok, frame = camera.read()
    cv2.imshow("camera", frame)
    if cv2.waitKey(1) == 27:
        break
