"""The whole pipeline on rendered slips. Same as `ocr-pipeline demo`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "demo")
    main()
