"""Stage 2: fine-tune a recognizer from released weights. Same as `ocr-pipeline train`."""

import sys

from ocr_pipeline.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
