"""Reading web archives, and telling encodings that nobody declares: python -m benchmarks.reading DATA

FOLDER holds langid/udhr.jsonl.gz (the Universal Declaration of Human Rights, rows of `lang` and `text`), whose pieces
are written in the legacy encodings of their languages and told apart again, and the pages of web/, which become a
.warc.gz file with one gzip member a record.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from benchmarks.extraction import read_pages
from benchmarks.measure import machine, median, write_results
from ensue.text.encodings import encoding_of_text
from ensue.text.find import FoundFile
from ensue.text.read import read_found_file
from ensue.text.skips import SkipReport

ENCODINGS = {
    **{"zh": ("gb18030",), "ja": ("cp932", "euc_jp"), "ko": ("cp949",), "vi": ("cp1258",), "tr": ("cp1254",)},
    **{"ru": ("cp1251", "koi8_r"), "uk": ("cp1251", "koi8_u"), "el": ("cp1253", "iso8859_7"), "he": ("cp1255",)},
    **{"ar": ("cp1256",), "pl": ("cp1250", "iso8859_2"), "cs": ("cp1250", "iso8859_2"), "hu": ("cp1250", "iso8859_2")},
    **dict.fromkeys(("de", "fr", "es", "pt", "it", "nl", "ca", "sv", "da", "nb", "fi"), ("cp1252",)),
}
SIZES = (200, 1000, 5000)
ROUNDS = 5


def told_right(texts: dict[str, str], size: int) -> dict[str, Any]:
    """Of the pieces of so many characters that are not all ASCII, how many come back as they were."""
    right = pieces = 0
    wrong: dict[str, int] = {}
    for language, codecs in ENCODINGS.items():
        for codec in codecs:
            for start in range(0, len(texts[language]), size):
                data = texts[language][start : start + size].encode(codec, "ignore")
                if len(data) < 50 or data.isascii():
                    continue
                pieces += 1
                told = encoding_of_text(data)
                if told is not None and data.decode(told, "replace") == data.decode(codec):
                    right += 1
                else:
                    wrong[f"{language} {codec}"] = wrong.get(f"{language} {codec}", 0) + 1
    return {"pieces": pieces, "right": right, "wrong": wrong}


def reading_rates(folder: Path) -> dict[str, float]:
    """Pages and megabytes of HTML a second of processor time, from .warc.gz to documents."""
    pages = read_pages(folder)
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    for number, page in enumerate(pages):
        headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1")
        body = io.BytesIO(page.html.encode())
        writer.write_record(writer.create_warc_record(f"http://e.org/{number}", "response", body, http_headers=headers))
    with tempfile.NamedTemporaryFile(suffix=".warc.gz") as file:
        file.write(out.getvalue())
        file.flush()
        seconds = []
        for _ in range(ROUNDS):
            begun = time.process_time()
            found = FoundFile(Path(file.name), "pages.warc.gz")
            assert sum(1 for _ in read_found_file(found, skipped=SkipReport())) == len(pages)
            seconds.append(time.process_time() - begun)
    megabytes = sum(len(page.html.encode()) for page in pages) / 1e6
    return {
        "pages_per_second": round(len(pages) / median(seconds)),
        "megabytes_per_second": round(megabytes / median(seconds)),
    }


def main(folder: Path) -> None:
    with gzip.open(folder / "langid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {row["lang"]: row["text"] for row in map(json.loads, file)}
    results = {
        "machine": machine("charset-normalizer", "warcio"),
        "languages": len(ENCODINGS),
        "encodings": len({codec for codecs in ENCODINGS.values() for codec in codecs}),
        "told_right_by_characters": {size: told_right(texts, size) for size in SIZES},
        "reading": reading_rates(folder / "web"),
    }
    print(json.dumps(results, indent=1))
    write_results("reading", results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
