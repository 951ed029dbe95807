"""Accuracy on lines, on pages, or of reading whole pages. Same as `ocr-pipeline evaluate`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
