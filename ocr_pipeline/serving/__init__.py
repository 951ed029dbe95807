"""Stage 4: the HTTP service; :func:`ocr_pipeline.serving.app.create_app`."""
