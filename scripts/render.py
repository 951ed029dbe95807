"""Practice data: labelled lines of worn dot-matrix slips. Same as `ocr-pipeline render`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "render")
    main()
