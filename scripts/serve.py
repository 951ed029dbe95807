"""Stage 4: the HTTP service. Same as `ocr-pipeline serve`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
