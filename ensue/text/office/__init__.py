"""Books and office files: EPUB, DOCX and PDF."""
