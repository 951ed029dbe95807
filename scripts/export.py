"""Stage 3: freeze a model for serving, through the parity gate. Same as `ocr-pipeline export`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "export")
    main()
