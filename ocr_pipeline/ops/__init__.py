"""Pre- and post-processing: numpy and cv2 only, the one home of both. No paddle here."""
