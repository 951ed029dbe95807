"""What works here, and what mends the rest. Same as `ocr-pipeline doctor`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "doctor")
    main()
