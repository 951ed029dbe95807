"""Pictures to text. Same as `ocr-pipeline read`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "read")
    main()
