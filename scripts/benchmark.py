"""Speed against other code. Same as `ocr-pipeline benchmark`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "benchmark")
    main()
