"""Accuracy of a recognizer on labelled lines. Same as `ocr-pipeline evaluate`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
