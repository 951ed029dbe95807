"""Stage 1: label lists and pictures to a checked, split dataset. Same as `ocr-pipeline prepare`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "prepare")
    main()
