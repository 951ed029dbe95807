"""``python -m ocr_pipeline`` is the ``ocr-pipeline`` command."""

from ocr_pipeline.cli import main

if __name__ == "__main__":
    main()
